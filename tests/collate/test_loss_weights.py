"""Weights of spans become what each label counts in the loss, compared with a few lines over Python lists."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    Ragged,
    RaggedBatch,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.collate.staged import new_arrays
from fastcollate.errors import CollateError
from fastcollate.ragged import Parcel, Rows

PAD = 999


@st.composite
def weighted_rows(draw):
    """Rows as (tokens, [(start, stop, weight), ...])."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 12))
        edges = sorted(draw(st.sets(st.integers(0, count), max_size=6)))
        spans = [
            (start, stop, draw(st.sampled_from([0.25, 0.5, 1.0, 3.0])))
            for start, stop in zip(edges[::2], edges[1::2], strict=False)
        ]
        rows.append((list(range(1, count + 1)), spans))
    return rows


def batch_of(rows):
    batch = RaggedBatch.from_ragged(
        Ragged.from_rows([tokens for tokens, _ in rows]),
        spans=Ragged.from_rows([[edge for span in spans for edge in span[:2]] for _, spans in rows]),
    )
    counts = np.array([len(spans) for _, spans in rows])
    values = np.array([weight for _, spans in rows for *_, weight in spans], np.float32)
    weights = Rows(values, np.cumsum(counts) - counts, counts)
    return replace(batch, columns={**batch.columns, "weights": weights})


def weights_of(tokens, spans, *, end_token_id=None, shift=0, max_length=None, truncation="right"):
    """What each cell of a row's labels counts, and the number of these cells."""
    found = [0.0] * len(tokens)
    for start, stop, weight in spans:
        found[start:stop] = [weight] * (stop - start)
    if end_token_id is not None:
        found.append(spans[-1][2] if spans else 1.0)
    limit = None if max_length is None else max_length + shift
    if limit is not None and len(found) > limit:
        cut = {"right": found[:limit], "left": found[-limit:], "keep_end": [*found[: limit - 1], found[-1]]}
        found = cut[truncation]
    return found[shift:]


@settings(max_examples=200)
@given(
    weighted_rows(),
    st.fixed_dictionaries(
        {
            "end_token_id": st.sampled_from([None, 77]),
            "max_length": st.sampled_from([None, 1, 4, 9]),
            "truncation": st.sampled_from(["right", "left", "keep_end"]),
        }
    ),
    st.sampled_from(["left", "right"]),
    st.booleans(),
)
def test_padded_labels_count_what_their_spans_weigh(rows, cut, side, shift):
    collator = PaddingCollator(PAD, supervise="response", padding_side=side, shift_labels=shift, **cut)
    batch = collator(batch_of(rows))
    width = batch["labels"].shape[1]
    expected = np.zeros((len(rows), width), np.float32)
    for row, (tokens, spans) in zip(expected, rows, strict=True):
        found = weights_of(tokens, spans, shift=int(shift), **cut)
        place = width - len(found) if side == "left" else 0
        row[place : place + len(found)] = found
    assert batch["loss_weights"].dtype == torch.float32
    np.testing.assert_array_equal(batch["loss_weights"].numpy(), expected)
    np.testing.assert_array_equal(batch["labels"].numpy() != -100, expected > 0)
    assert batch.loss_weight == expected[:, 0 if shift else 1 :].sum(dtype=np.float64)
    staged = collator.stage(batch_of(rows), new_arrays)
    (built,) = staged.build({name: torch.from_numpy(array) for name, array in staged.arrays.items()})
    assert built["loss_weights"].dtype == torch.float32
    assert all(torch.equal(built[name], tensor) for name, tensor in batch.items())
    assert (built.loss_weight, built.num_supervised) == (batch.loss_weight, batch.num_supervised)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """Records of 1 to 60 tokens with up to three spans, which weigh 0.25 to 1, in three shards."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("weighted") / "store"
    rows, spans, weights = [], [], []
    for count in rng.integers(1, 61, 400).tolist():
        edges = np.sort(rng.choice(count + 1, min(count + 1, 2 * int(rng.integers(0, 4))) // 2 * 2, replace=False))
        rows.append(rng.integers(0, 256, count).tolist())
        spans.append(edges.tolist())
        weights += rng.choice([0.25, 0.5, 1.0], len(edges) // 2).tolist()
    with StoreWriter(path, encoding="bytes", records_per_shard=150) as writer:
        writer.append(
            Ragged.from_rows(rows), Ragged.from_rows(spans), columns={"weights": np.array(weights, np.float32)}
        )
    return TokenStore(path)


def of_record(store, record):
    """What each token of a record counts."""
    pairs = store.spans(record).reshape(-1, 2).tolist()
    spans = [(*pair, weight) for pair, weight in zip(pairs, store.column("weights", record), strict=True)]
    return np.array(weights_of(store[record].tolist(), spans), np.float32)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_a_loader_delivers_them_padded(weighted, transfer, workers):
    collator = PaddingCollator(256, supervise="response")
    dataset, seen = BucketedDataset(weighted, batch_size=8), 0
    with StreamLoader(dataset, collator, transfer=transfer, num_workers=workers) as loader:
        for batch in loader:
            for record, row in zip(batch.record_ids.tolist(), batch["loss_weights"].numpy(), strict=True):
                expected, seen = of_record(weighted, record), seen + 1
                np.testing.assert_array_equal(row[: len(expected)], expected)
                assert not row[len(expected) :].any()
            assert batch.loss_weight == batch["loss_weights"][:, 1:].sum(dtype=torch.float64).item()
    assert seen == len(weighted)


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
@pytest.mark.parametrize("layout", [{}, {"layout": "flat"}, {"layout": "flat", "multiple_of": 4}], ids=str)
def test_a_loader_delivers_them_packed(weighted, transfer, layout):
    dataset = PackedDataset(weighted, length=256, batch_size=2)
    loader = StreamLoader(dataset, PackingCollator(256, supervise="response", **layout), transfer=transfer)
    for batch in loader:
        documents = [of_record(weighted, record) for record in batch.record_ids.tolist()]
        for document in documents:
            document[0] = 0  # nothing predicts it
        real = batch["document_ids"] >= 0
        np.testing.assert_array_equal(batch["loss_weights"][real].numpy(), np.concatenate(documents))
        assert not batch["loss_weights"][~real].any()
        assert not batch["loss_weights"][batch["labels"] == -100].any()
        assert batch.loss_weight == batch["loss_weights"].sum(dtype=torch.float64).item()
        if "multiple_of" in layout:
            parts = [batch.shard(rank, 2) for rank in range(2)]
            assert sum(part.loss_weight for part in parts) == batch.loss_weight
            assert all(part["shift_loss_weights"].shape == part["shift_labels"].shape for part in parts)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_knows_what_all_its_targets_weigh(weighted, accumulate):
    collator = PaddingCollator(256, supervise="response", max_length=40)
    ranks = [
        list(map(collator, BucketedDataset(weighted, batch_size=8, rank=r, world_size=2, accumulate=accumulate)))
        for r in range(2)
    ]
    for first in range(0, len(ranks[0]), accumulate):
        step = [batch for rank in ranks for batch in rank[first : first + accumulate]]
        assert {batch.step_loss_weight for batch in step} == {sum(batch.loss_weight for batch in step)}
        assert step[0].step_loss_weight != step[0].step_num_supervised


def test_where_every_target_weighs_one_nothing_is_added(store):
    batch = next(map(PaddingCollator(256, supervise="response"), BucketedDataset(store, batch_size=8)))
    assert "loss_weights" not in batch
    assert batch.loss_weight == batch.num_supervised > 0
    assert batch.step_loss_weight == batch.step_num_supervised


def test_a_mixture_has_weights_of_one_for_sources_without(weighted, store):
    collator = PaddingCollator(256, supervise="response")
    batches = list(map(collator, BucketedDataset(mix([(weighted, 1), (store, 1)]), batch_size=8)))
    assert all("loss_weights" in batch for batch in batches)
    found = sum(batch.loss_weight for batch in batches)
    alone = [map(collator, BucketedDataset(part, batch_size=8)) for part in (weighted, store)]
    assert found == sum(batch.loss_weight for batches in alone for batch in batches)


@pytest.mark.parametrize(
    "collator",
    [
        PaddingCollator(256),
        PaddingCollator(256, supervise="response", as_tuple=True),
        PackingCollator(256),
    ],
    ids=["padded", "as a tuple", "packed"],
)
def test_who_has_no_room_for_weights_says_so(weighted, collator):
    with pytest.raises(CollateError, match=r"weights other than 1.*loss_weights"):
        collator(next(iter(BucketedDataset(weighted, batch_size=8))))


LABELS = {
    "labels": ({"labels": [5, -100, 7, 8]}, {}, [0, 0, 0.5, 0.5]),
    "a mask": ({"loss_mask": [1, 1, 0, 1]}, {}, [0, 0.5, 0, 0.5]),
    "a token": ({}, {"ignore_index": 7}, [0, 0.5, 0, 0.5]),
}


@pytest.mark.parametrize("make", [PaddingCollator, PackingCollator])
@pytest.mark.parametrize("kind", LABELS)
def test_what_labels_leave_out_weighs_nothing(make, kind):
    columns, arguments, expected = LABELS[kind]
    batch = batch_of([([5, 6, 7, 8], [(1, 4, 0.5)])])
    given = {name: Rows(np.array(values), np.array([0]), np.array([4])) for name, values in columns.items()}
    batch, collator = (
        replace(batch, columns={**batch.columns, **given}),
        make(9, supervise="response", **arguments),
    )
    staged = collator.stage(batch, new_arrays)
    (built,) = staged.build({name: torch.from_numpy(array) for name, array in staged.arrays.items()})
    for made in (collator(batch), built):
        assert made["loss_weights"].tolist() == [expected]
        assert (made.num_supervised, made.loss_weight) == (2, 1.0)
    counted = collator.count(Parcel.of(batch))
    assert (counted.num_supervised.tolist(), counted.weights.tolist()) == ([2], [1.0])


@pytest.mark.parametrize(
    ("spans", "max_length", "expected"),
    [
        ([(2, 10, 1.0), (12, 20, 9.0)], 10, [0, 0, 1, 1, 1]),  # token 9 is kept, which the first span has
        ([(0, 6, 1.0), (6, 6, 9.0)], 6, [1, 1, 1, 1, 1]),
    ],
)
def test_the_end_that_is_kept_weighs_what_its_own_span_does(spans, max_length, expected):
    rows = BucketedDataset(Ragged.from_rows([list(range(20))]), batch_size=1, max_length=max_length)
    whole = batch_of([(list(range(20)), spans)])
    batch = replace(next(iter(rows)), columns=whole.columns)
    collator = PaddingCollator(PAD, max_length=5, truncation="keep_end", supervise="response")
    assert collator(batch)["loss_weights"].tolist() == [expected]


def test_batches_of_a_parcel_weigh_by_themselves():
    whole = batch_of([([1, 2, 3], [(1, 3, weight)]) for weight in (0.1, 1e30, 0.2, 0.3)])
    parcel = replace(Parcel.of(whole), edges=np.arange(5))
    found = [batch.loss_weight for batch in PaddingCollator(PAD, supervise="response").collate(parcel, new_arrays)]
    assert found == [2 * float(np.float32(weight)) for weight in (0.1, 1e30, 0.2, 0.3)]


def test_weights_of_a_mixture_are_there_without_its_spans(weighted, store):
    both = mix([(weighted, 1), (store, 1)])
    alone = both.at_epoch(0, 0).gather(np.arange(len(both)), ["weights"]).columns
    beside = both.at_epoch(0, 0).gather(np.arange(len(both)), ["spans", "weights"]).columns
    assert list(alone) == ["weights"]
    np.testing.assert_array_equal(alone["weights"].lengths, beside["spans"].lengths // 2)
    np.testing.assert_array_equal(alone["weights"].joined(), beside["weights"].joined())


def test_as_many_weights_as_spans():
    rows = [([1, 2, 3], [(0, 1, 1.0), (2, 3, 0.5)])]
    batch, other = batch_of(rows), batch_of([([1], [(0, 1, 1.0)])])
    wrong = replace(batch, columns={**batch.columns, "weights": other.columns["weights"]})
    with pytest.raises(CollateError, match="row 0 has 2 spans and 1 weights"):
        PaddingCollator(PAD, supervise="response")(wrong)
