"""A flat batch of a fixed capacity: one shape an epoch, the documents of the plain batch, and clear refusals."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from batches import content
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packing_collator import hand_made

from fastcollate import (
    BucketedDataset,
    CollateError,
    PackedDataset,
    PackingCollator,
    PlanError,
    Ragged,
    StateError,
    StateMismatchError,
    StreamLoader,
)
from fastcollate.collate.staged import new_arrays

FIXED = {"layout": "flat", "total": 512, "documents": 64}
rows_drawn = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), max_size=6)


def padded(values, size, fill):
    return [*values, *[fill] * (size - len(values))]


def cumulative(lengths, size):
    ends = np.cumsum([0, *lengths]).tolist()
    return padded(ends, size, ends[-1])


@settings(max_examples=80)
@given(rows_drawn, st.sampled_from(["plain", "transformers"]), st.sampled_from([-100, 7]))
def test_cells_and_boundaries_are_those_of_the_plain_batch_padded(rows, keys, ignored):
    batch = hand_made(rows, [0, len(rows)], width=60)
    some = {"layout": "flat", "keys": keys, "ignore_index": ignored}
    plain, collator = PackingCollator(99, **some)(batch), PackingCollator(99, **some, total=64, documents=8)
    found = collator(batch)
    assert found.keys() == plain.keys()
    count = plain.num_tokens
    fills = {"input_ids": 99, "labels": ignored, "position_ids": 0, "document_ids": -1}
    for name, fill in fills.items():
        if name in plain:
            assert found[name].tolist() == [padded(plain[name][0, :count].tolist(), 64, fill)]
            assert found[name].dtype == torch.int64
    begins, most = ("cu_seqlens", "max_seqlen") if keys == "plain" else ("cu_seq_lens_k", "max_length_q")
    assert found[begins].dtype == torch.int32
    assert found[begins].tolist() == cumulative(map(len, rows), 9)
    assert found[most] == 60
    assert (found.num_tokens, found.num_supervised) == (plain.num_tokens, plain.num_supervised)
    (staged,) = collator.stage(batch, new_arrays).build(
        {name: torch.from_numpy(array) for name, array in collator.stage(batch, new_arrays).arrays.items()}
    )
    assert content(staged) == content(found)


@pytest.mark.parametrize("make", [{"transfer": "padded"}, {"transfer": "ragged"}, {"num_workers": 2}], ids=str)
def test_an_epoch_has_one_shape(store, make):
    loader = StreamLoader(PackedDataset(store, length=256, batch_size=2), PackingCollator(0, **FIXED), **make)
    with loader:
        batches = list(loader)
    shapes = {
        tuple((name, value if isinstance(value, int) else tuple(value.shape)) for name, value in batch.items())
        for batch in batches
    }
    assert shapes == {
        (
            *((name, (1, 512)) for name in ("input_ids", "labels", "position_ids", "document_ids")),
            ("cu_seqlens", (65,)),
            ("max_seqlen", 256),
        )
    }
    assert sum(batch.num_tokens for batch in batches) == store.num_tokens
    for batch in batches:
        ends = batch["cu_seqlens"].tolist()
        found = [batch["input_ids"][0, a:b].tolist() for a, b in pairwise(ends) if a < b]
        assert found == [store[record].tolist() for record in batch.record_ids.tolist()]


def test_buckets_go_into_one_shape_too(store):
    dataset = BucketedDataset(store, max_tokens=500)
    with StreamLoader(dataset, PackingCollator(0, layout="flat", total=500, documents=12)) as loader:
        batches = list(loader)
    assert max(len(batch.record_ids) for batch in batches) <= 12
    assert sum(batch.num_tokens for batch in batches) == store.num_tokens


def test_a_document_longer_than_the_batch_is_refused():
    with pytest.raises(CollateError, match="row 1 has 9 tokens, more than total=8: raise total, or cut the row"):
        PackingCollator(0, layout="flat", total=8, documents=4)([[1], [2] * 9])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1] * 5, [2] * 5], "a batch has 10 cells, more than total=8"),
        ([[1]] * 5, "a batch has 5 documents, more than documents=4: .* dataset.plan_for"),
    ],
)
def test_rows_that_are_too_many_are_refused(rows, message):
    with pytest.raises(CollateError, match=message):
        PackingCollator(0, layout="flat", total=8, documents=4)(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total": 8}, "total is 8 and documents is None: a batch of one shape needs both"),
        ({"documents": 8}, "total is None and documents is 8"),
        ({"total": 0, "documents": 1}, "total is 0: it must be an integer, at least 1"),
        ({"total": 8, "documents": True}, "documents is True: it must be an integer, at least 1"),
        ({"total": 8, "documents": 1, "layout": "rows"}, 'total and documents are for layout="flat"'),
        ({"total": 10, "documents": 1, "multiple_of": 4}, "total is 10, no multiple of multiple_of=4.* total=12"),
        ({"multiple_of": 0}, "multiple_of is 0: it must be an integer, at least 1"),
    ],
)
def test_arguments_that_make_no_shape_are_refused(options, message):
    with pytest.raises(CollateError, match=message):
        PackingCollator(0, **{"layout": "flat", **options})


def test_a_plan_that_may_not_fit_is_refused_before_the_first_batch(store):
    collator = PackingCollator(0, layout="flat", total=256, documents=9)
    with pytest.raises(PlanError, match=r"total is 256, but a batch of 2 .* may need 512"):
        StreamLoader(PackedDataset(store, length=256, batch_size=2), collator)
    with pytest.raises(PlanError, match=r"documents is 9, but a batch of 10 records .* may need 10"):
        StreamLoader(
            BucketedDataset(store, batch_size=10), PackingCollator(0, layout="flat", total=9999, documents=9)
        )


def test_what_a_batch_has_room_for_is_part_of_the_state(store):
    told, untold = (PackedDataset(store, length=512) for _ in range(2))
    told.plan_for(PackingCollator(0, **FIXED))
    next(iter(told))
    with pytest.raises(StateMismatchError, match="max_documents 64, this dataset has None"):
        untold.load_state_dict(told.state_dict())
    with pytest.raises(
        StateError, match="the epoch has begun with batches that were not planned for PackingCollator"
    ):
        told.plan_for(PackingCollator(0, **{**FIXED, "documents": 65}))
    untold.plan_for(PackingCollator(0, **FIXED))
    untold.load_state_dict(told.state_dict())
    untold.plan_for(PackingCollator(0, **FIXED))
    assert [b.record_ids.tolist() for b in untold] == [b.record_ids.tolist() for b in told]


def test_other_collators_change_no_plan(store):
    dataset = PackedDataset(store, length=512)
    before = dataset.state_dict()
    StreamLoader(dataset, PackingCollator(0, layout="flat"))
    assert dataset.state_dict() == before


def compiled_steps(count):
    """How often a model was compiled in so many steps over packs, and its losses with the uncompiled ones."""
    torch._dynamo.reset()
    lengths = np.random.default_rng(0).integers(1, 30, 30 * count)
    corpus = Ragged(np.arange(lengths.sum()) % 50, np.concatenate([[0], np.cumsum(lengths)]))
    dataset = PackedDataset(corpus, length=64, window=256)
    table, compiled = torch.nn.Embedding(51, 8), []

    def step(ids, positions, cu_seqlens):
        same = torch.searchsorted(cu_seqlens[1:], torch.arange(ids.shape[1], dtype=torch.int32), right=True)
        found = table(ids[0]) + positions[0, :, None]
        scores = (found @ found.T).masked_fill(same[:, None] != same[None], -1e9)
        return (scores.softmax(-1) @ found).sum()

    def counting(graph, _):
        compiled.append(graph)
        return graph.forward

    fast = torch.compile(step, backend=counting, fullgraph=True)
    with StreamLoader(dataset, PackingCollator(50, layout="flat", total=64, documents=32)) as loader:
        for batch, _ in zip(loader, range(count), strict=False):
            taken = batch["input_ids"], batch["position_ids"], batch["cu_seqlens"]
            torch.testing.assert_close(fast(*taken), step(*taken))
    return len(compiled)


def test_a_model_is_compiled_once_for_all_steps():
    assert compiled_steps(12) == 1


@pytest.mark.slow
def test_a_model_is_compiled_once_for_five_hundred_steps():
    assert compiled_steps(500) == 1


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_packs_of_several_ranks_keep_within_a_capacity(store, batch_size, lanes):
    """Those of equal work, too, of which the last are dealt out document by document."""
    collate = PackingCollator(256, layout="flat", total=512 * batch_size, documents=12 * batch_size, multiple_of=8)
    seen = []
    for rank in range(5):
        ranks = {"rank": rank, "world_size": 5, "window": 300, "lanes": lanes}
        loader = StreamLoader(PackedDataset(store, length=512, batch_size=batch_size, **ranks), collate)
        for batch in loader:
            assert batch["input_ids"].shape == (1, 512 * batch_size)
            seen += [record for record in batch.record_ids.tolist() if record >= 0]
    assert sorted(seen) == list(range(len(store)))


@pytest.mark.parametrize("lanes", [1, 3])
def test_buckets_in_lanes_have_the_shapes_that_were_said(store, lanes):
    collate = PackingCollator(256, layout="flat", total=1600, documents=9, multiple_of=8)
    dataset = BucketedDataset(store, max_tokens=1600, buckets=4, window=300, lanes=lanes)
    dataset.plan_for(collate)
    assert {(len(batch), batch.width) for batch in dataset} <= set(dataset.shapes)
