"""`PackingCollator` equals an oracle that places one token at a time, for every option and input form."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import pack_rows
from stores import lognormal_lengths, write_store
from torch.utils.data import DataLoader

from fastcollate import BucketedDataset, CollateError, PackedDataset, PackingCollator, StoreWriter, TokenStore
from fastcollate.ragged import Packs, Ragged, RaggedBatch

tokens = st.integers(0, 299)
row_lists = st.lists(st.lists(tokens, min_size=1, max_size=14), min_size=1, max_size=7)
dtypes = st.sampled_from([np.uint16, np.uint32, np.int64])
LAYOUTS = [
    {"layout": "rows", "attention_mask": True},
    {"layout": "flat"},
    {"layout": "flat", "keys": "transformers", "supervise": "response"},
    {"layout": "rows", "keys": "transformers"},
]


@st.composite
def options(draw):
    layout, keys = draw(st.sampled_from(["rows", "flat"])), draw(st.sampled_from(["plain", "transformers"]))
    return {
        "layout": layout,
        "ignore_index": draw(st.sampled_from([-100, -1])),
        "supervise": draw(st.sampled_from(["all", "response"])),
        "keys": keys,
        "attention_mask": (layout, keys) == ("rows", "plain") and draw(st.booleans()),
    }


@st.composite
def spans_of(draw, row):
    points = sorted(draw(st.lists(st.integers(0, len(row)), max_size=6)))
    points = points[: len(points) // 2 * 2]
    return list(zip(points[::2], points[1::2], strict=True))


def hand_made(rows, edges, dtype=np.uint16, *, width=None, spans=None, pieces=None, record_ids=None):
    """A batch of packs: pack `p` is the rows `edges[p]` to `edges[p + 1]`, each cut to its piece."""
    ragged = Ragged.from_rows(rows, dtype)
    pieces = [(0, len(row)) for row in rows] if pieces is None else pieces
    cuts, stops = np.array(pieces, np.int64).reshape(-1, 2).T
    pairs = None if spans is None else Ragged.from_rows([np.ravel(span).astype(int) for span in spans])
    batch = RaggedBatch.from_ragged(ragged, record_ids=record_ids, spans=pairs).cut(cuts, stops - cuts)
    return batch.laid_out(width=width, packs=Packs.of(stops - cuts, np.asarray(edges, np.int64), width))


def check(batch, expected):
    tensors, num_tokens, num_supervised = expected
    assert batch.keys() == tensors.keys()
    for name, value in tensors.items():
        if isinstance(value, int):  # a flag too
            assert type(batch[name]) is type(value)
            assert batch[name] == value, name
        else:
            assert batch[name].is_contiguous()
            np.testing.assert_array_equal(batch[name].numpy(), value, err_msg=name, strict=True)
    assert (batch.num_tokens, batch.num_supervised) == (num_tokens, num_supervised)
    assert batch.padding_fraction == pytest.approx(1 - num_tokens / tensors["input_ids"].size)
    assert batch.record_ids.dtype == torch.int64


def content(batch):
    """All a batch holds and knows, comparable."""
    held = {k: (v.dtype, v.tolist()) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    return held, batch.record_ids.tolist(), batch.num_tokens, batch.num_supervised


@settings(max_examples=120)
@given(st.lists(st.lists(tokens, min_size=1, max_size=14), max_size=7), options(), dtypes, st.data())
def test_packs_of_pieces_of_records(records, chosen, dtype, data):
    cuts = [data.draw(st.integers(0, len(record) - 1)) for record in records]
    pieces = [(cut, data.draw(st.integers(cut + 1, len(r)))) for cut, r in zip(cuts, records, strict=True)]
    spans = [data.draw(spans_of(record)) for record in records]
    inner = data.draw(st.lists(st.integers(0, len(records)), max_size=5))
    edges = [0, *sorted(inner), len(records)]
    packs = [list(range(first, last)) for first, last in pairwise(edges)]
    rows = [record[cut:stop] for record, (cut, stop) in zip(records, pieces, strict=True)]
    fullest = max(sum(len(rows[i]) for i in pack) for pack in packs)
    width = data.draw(st.none() | st.integers(max(1, fullest), fullest + 9))
    ids = [7 * i + 3 for i in range(len(rows))]
    batch = hand_made(records, edges, dtype, width=width, spans=spans, pieces=pieces, record_ids=ids)
    collator = PackingCollator(298, **chosen)
    found = collator(batch)
    check(found, pack_rows(rows, packs, 298, width=width, **chosen, spans=spans, cuts=cuts))
    assert found.record_ids.tolist() == ids
    assert content(collator(pickle.loads(pickle.dumps(batch)))) == content(found)


@settings(max_examples=60)
@given(row_lists, options(), st.sampled_from([list, tuple, np.array, torch.tensor, np.uint16]))
def test_plain_rows_are_packs_of_one(rows, chosen, form):
    chosen["supervise"] = "all"
    found = PackingCollator(298, **chosen)([form(row) for row in rows])
    check(found, pack_rows(rows, [[i] for i in range(len(rows))], 298, **chosen))
    assert found.record_ids.tolist() == list(range(len(rows)))


@settings(max_examples=60)
@given(row_lists, options(), st.data())
def test_rows_with_labels_and_spans(rows, chosen, data):
    targets = st.sampled_from([7, 8, 9, -100, chosen["ignore_index"]])
    labels = [data.draw(st.lists(targets, min_size=len(row), max_size=len(row))) for row in rows]
    spans = [data.draw(spans_of(row)) for row in rows]
    dicts = [
        {"input_ids": torch.tensor(row), "labels": np.array(label), "spans": span}
        for row, label, span in zip(rows, labels, spans, strict=True)
    ]
    packs = [[i] for i in range(len(rows))]
    expected = pack_rows(rows, packs, 298, **chosen, spans=spans, given_labels=labels)
    check(PackingCollator(298, **chosen)(dicts), expected)


@given(row_lists, options(), st.data())
def test_rows_with_a_prompt_length(rows, chosen, data):
    prompts = [data.draw(st.integers(0, len(row))) for row in rows]
    dicts = [{"input_ids": row, "prompt_length": n} for row, n in zip(rows, prompts, strict=True)]
    spans = [[(n, len(row))] for row, n in zip(rows, prompts, strict=True)]
    expected = pack_rows(rows, [[i] for i in range(len(rows))], 298, **chosen, spans=spans)
    check(PackingCollator(298, **chosen)(dicts), expected)


def test_a_piece_far_behind_hundreds_of_spans():
    record = list(range(2000))
    spans = [(p, p + 1) for p in range(0, 2000, 2)]
    batch = hand_made([record], [0, 1], spans=[spans], pieces=[(1501, 1600)])
    expected = pack_rows([record[1501:1600]], [[0]], 0, supervise="response", spans=[spans], cuts=[1501])
    check(PackingCollator(0, supervise="response")(batch), expected)


@pytest.mark.parametrize("chosen", LAYOUTS, ids=str)
@pytest.mark.parametrize("fillers", [1, 2, 3])
def test_batches_of_fillers_only(chosen, fillers):
    batch = hand_made([], [0] * (fillers + 1), width=6, spans=[])
    found = PackingCollator(5, **chosen)(batch)
    check(found, pack_rows([], [[]] * fillers, 5, width=6, **chosen, spans=[]))
    assert found["input_ids"].shape == ((fillers, 6) if chosen["layout"] == "rows" else (1, 1))
    assert found["input_ids"].eq(5).all()
    assert found["labels"].eq(-100).all()
    assert len(found.record_ids) == 0


@pytest.mark.parametrize("chosen", LAYOUTS, ids=str)
@pytest.mark.parametrize("rows", [[[1, 2, 3], [4, 5]], []], ids=["rows before it", "nothing else"])
def test_filler_rows_of_a_batch_without_packs(chosen, rows):
    """A `BucketedDataset` on more ranks than rows yields these."""
    batch = RaggedBatch.from_ragged(
        Ragged.from_rows([*rows, [], []], np.uint16),
        record_ids=np.array([*range(len(rows)), -1, -1]),
        spans=Ragged.from_rows([*([1, len(row)] for row in rows), [], []]),
    )
    spans = [[(1, len(row))] for row in rows]
    packs = [*([i] for i in range(len(rows))), [], []]
    check(PackingCollator(0, **chosen)(batch), pack_rows(rows, packs, 0, **chosen, spans=spans))


@pytest.fixture(scope="module")
def speaking_store(tmp_path_factory):
    """300 records of 1 to 120 random tokens with up to three spans each, in three shards."""
    generator = np.random.default_rng(1)
    rows = [generator.integers(0, 251, n) for n in lognormal_lengths(300, high=120)]
    spans = [np.sort(generator.integers(0, len(row) + 1, 2 * generator.integers(0, 4))) for row in rows]
    path = tmp_path_factory.mktemp("data") / "speaking"
    with StoreWriter(path, encoding="bytes", records_per_shard=100) as writer:
        writer.append(Ragged.from_rows(rows, np.uint16), Ragged.from_rows(spans))
    return TokenStore(path)


def expected_of(store, batch, chosen):
    """What the oracle makes of a planned batch, from the store's records alone."""
    cuts, ids = batch.cuts.tolist(), batch.record_ids.tolist()
    places = zip(ids, cuts, batch.lengths.tolist(), strict=True)
    rows = [store[i][cut : cut + length].tolist() for i, cut, length in places]
    spans = [np.asarray(store.spans(i)).reshape(-1, 2).tolist() for i in ids]
    packs = [list(range(first, last)) for first, last in pairwise(batch.packs.edges.tolist())]
    return pack_rows(rows, packs, 256, width=batch.width, **chosen, spans=spans, cuts=cuts)


@pytest.mark.parametrize("chosen", [*LAYOUTS, {"layout": "rows", "supervise": "response"}], ids=str)
@pytest.mark.parametrize(
    "arguments",
    [
        {"length": 128},
        {"length": 50, "overlong": "split"},
        {"length": 50, "overlong": "truncate"},
        {"length": 50, "strategy": "wrap"},
        {"length": 50, "strategy": "wrap", "window": 40},
    ],
    ids=str,
)
def test_batches_of_a_packed_dataset(speaking_store, arguments, chosen):
    collator = PackingCollator(256, **chosen)
    for batch in PackedDataset(speaking_store, batch_size=4, **arguments):
        found = collator(batch)
        check(found, expected_of(speaking_store, batch, chosen))
        assert found.record_ids.tolist() == batch.record_ids.tolist()


@pytest.mark.parametrize("chosen", LAYOUTS, ids=str)
def test_more_ranks_than_packs_get_fillers(tmp_path, chosen):
    tiny = write_store(tmp_path / "tiny", [6, 2, 3], spans=True)
    found = []
    for rank in range(5):
        (batch,) = PackedDataset(tiny, length=8, batch_size=2, rank=rank, world_size=5)
        found.append(PackingCollator(256, **chosen)(batch))
        check(found[-1], expected_of(tiny, batch, chosen))
    assert sorted(i for batch in found for i in batch.record_ids.tolist()) == [0, 1, 2]
    assert [batch.num_tokens for batch in found].count(0) == 2  # each document has a rank


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_workers_give_the_same_batches(store, strategy):
    dataset = PackedDataset(store, length=256, batch_size=8, strategy=strategy)
    collator = PackingCollator(256, layout="flat", keys="transformers", supervise="response")
    alone = [content(collator(batch)) for batch in dataset]
    dataset.set_epoch(0)
    loader = DataLoader(dataset, batch_size=None, collate_fn=collator, num_workers=2)
    assert [content(batch) for batch in loader] == alone


def test_padding_free_batches_of_a_bucketed_dataset(store):
    collator = PackingCollator(256, layout="flat")
    for batch in BucketedDataset(store, batch_size=50, max_length=64):
        rows = [store[i][:64].tolist() for i in batch.record_ids.tolist()]
        check(collator(batch), pack_rows(rows, [[i] for i in range(len(rows))], 256, layout="flat"))


@pytest.mark.parametrize("chosen", LAYOUTS[:2], ids=str)
def test_a_batch_survives_copies_moves_and_pickling(chosen):
    batch = PackingCollator(0, **chosen)([[1, 2, 3], [4]])
    for other in (batch.to("cpu"), copy.copy(batch), pickle.loads(pickle.dumps(batch))):
        assert type(other) is type(batch)
        assert content(other) == content(batch)


@pytest.mark.parametrize("chosen", LAYOUTS, ids=str)
def test_batches_share_no_memory_with_each_other(chosen):
    packs = hand_made([[1, 2], [3]], [0, 1, 2], width=3, spans=[[], []])
    filler = hand_made([], [0, 0], width=3, spans=[])
    collator = PackingCollator(0, **chosen)
    for rows in (packs, filler, packs, filler):
        batch = collator(rows)
        assert content(batch) == content(PackingCollator(0, **chosen)(rows))
        for tensor in filter(torch.is_tensor, batch.values()):
            tensor.fill_(77)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "columns"}, "layout is 'columns': it must be 'rows' or 'flat'"),
        ({"supervise": "some"}, "supervise is 'some': it must be 'all' or 'response'"),
        ({"keys": "jax"}, "keys is 'jax': it must be 'plain' or 'transformers'"),
        ({"layout": "flat", "attention_mask": True}, 'attention_mask=True is for layout="rows"'),
        (
            {"keys": "transformers", "attention_mask": True},
            'attention_mask=True with keys="transformers": given a mask, .* see each other; leave',
        ),
        ({"ignore_index": None}, "ignore_index is None"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(CollateError, match=message):
        PackingCollator(0, **arguments)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the batch is empty"),
        ([[1], []], "row 1 is empty"),
        ([[1.5]], r"row 0 is a list with 1\.5: rows are flat sequences of integers"),
        ([{"input_ids": [1, 2], "labels": [1]}], "row 0 has 2 input_ids and 1 labels"),
        ([{"input_ids": [1, 2], "spans": [(0, 3)]}], r"row 0 has spans \[0, 3\]"),
        (hand_made([[1], []], [0, 2]), "row 1 is empty"),
    ],
)
def test_bad_rows_are_named(rows, message):
    with pytest.raises(CollateError, match=message):
        PackingCollator(0)(rows)


@pytest.mark.parametrize("layout", ["rows", "flat"])
@pytest.mark.parametrize("rows", [[[1, 2]], hand_made([[1, 2]], [0, 1])], ids=["lists", "packs"])
def test_responses_need_rows_that_know_theirs(rows, layout):
    with pytest.raises(CollateError, match="needs rows that know their response"):
        PackingCollator(0, layout=layout, supervise="response")(rows)
