"""Preference pairs: prepared, kept together, collated padded or packed, with one DPO loss."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from fastcollate import (
    BucketedDataset,
    CollateError,
    PackedDataset,
    PreferenceCollator,
    Ragged,
    RaggedBatch,
    StreamLoader,
    prepare,
)


@pytest.fixture
def preferences(tmp_path):
    records = [
        {"prompt": f"Say {'so ' * (n % 5)}{n}.", "chosen": f" Yes, {n}{'!' * (n % 7)}", "rejected": f" No {n * n}"}
        for n in range(40)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    return prepare(tmp_path / "pairs.jsonl", tmp_path / "store", encoding="bytes")


class Model:
    """A causal attention layer in float64: the log-probability of each token, given those before it."""

    def __init__(self):
        drawn = torch.Generator().manual_seed(0)
        self.table, self.out = (
            torch.randn(*size, generator=drawn, dtype=torch.float64) for size in ((257, 16), (16, 257))
        )

    def __call__(self, ids, positions, documents):
        """All int64[T]; float64[T, 257]: what follows each token."""
        found = self.table[ids] + torch.sin(positions[:, None] / (1 + torch.arange(16)))
        same = (documents[:, None] == documents) & (positions[:, None] >= positions)
        weights = (found @ found.T / 4).masked_fill(~same, -torch.inf).softmax(-1)
        return (weights @ found @ self.out).log_softmax(-1)


def score(model, ids, labels, positions, documents):
    """The log-probability of each document's targets, float64[D]."""
    following = model(ids, positions, documents)[:-1]
    chosen = following.gather(1, labels[1:, None].clamp(min=0))[:, 0].masked_fill(labels[1:] == -100, 0)
    count = int(documents.max()) + 1
    return torch.zeros(count, dtype=torch.float64).index_add(0, documents[1:], chosen)


def dpo(chosen, rejected):
    return -logsigmoid(0.1 * (chosen - rejected)).mean()


def one_by_one(model, row, spans):
    ids = torch.tensor(row.astype(np.int64))
    labels = torch.full_like(ids, -100)
    for start, stop in spans:
        labels[start:stop] = ids[start:stop]
    return score(model, ids, labels, torch.arange(len(ids)), torch.zeros_like(ids))[0]


def padded_scores(model, batch):
    scores = []
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        count = int(mask.sum())
        parts = ids[:count], labels[:count], torch.arange(count), torch.zeros(count, dtype=torch.int64)
        scores.append(score(model, *parts)[0])
    return torch.stack(scores).chunk(2)


def packed_scores(model, batch):
    found = score(model, *(batch[name][0] for name in ("input_ids", "labels", "position_ids", "document_ids")))
    return found[0::2], found[1::2]


@pytest.mark.parametrize(
    ("make", "layout", "scores"),
    [
        (lambda store: BucketedDataset(store, batch_size=8, groups=True), "padded", padded_scores),
        (lambda store: BucketedDataset(store, max_tokens=200, buckets=2, groups=True), "packed", packed_scores),
        (lambda store: PackedDataset(store, length=256, batch_size=2, groups=True), "packed", packed_scores),
        (lambda store: PackedDataset(store, length=256, groups=True), "padded", padded_scores),
    ],
)
def test_the_dpo_loss_of_a_batch_is_that_of_its_pairs_one_by_one(preferences, make, layout, scores):
    model, seen = Model(), []
    with StreamLoader(make(preferences), PreferenceCollator(256, layout=layout)) as loader:
        for batch in loader:
            ids = batch.record_ids
            first, second = ids.chunk(2) if layout == "padded" else (ids[0::2], ids[1::2])
            assert (first % 2 == 0).all()
            assert second.equal(first + 1)
            pairs = [
                [one_by_one(model, preferences[i], preferences.spans(i)) for i in pair]
                for pair in zip(first.tolist(), second.tolist(), strict=True)
            ]
            expected = torch.stack([dpo(*pair) for pair in pairs]).mean()
            assert abs(float(dpo(*scores(model, batch)) - expected)) < 1e-9
            seen += ids.tolist()
    assert sorted(seen) == list(range(80))


def test_answers_alone_are_targets(preferences):
    rows = next(iter(BucketedDataset(preferences, batch_size=2, groups=True)))
    batch = PreferenceCollator(256)(rows)
    for row, record in zip(batch["labels"], batch.record_ids.tolist(), strict=True):
        (start, stop) = preferences.spans(record)[0].tolist()
        assert row[row != -100].tolist() == preferences[record][start:stop].tolist()


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_fillers_are_no_pairs(preferences, layout):
    count = 0
    for rank in range(3):
        dataset = BucketedDataset(
            preferences, batch_size=6, buckets=1, groups=True, rank=rank, world_size=3, shuffle=False
        )
        for rows in dataset:
            batch = PreferenceCollator(256, layout=layout)(rows)
            assert layout == "packed" or batch["input_ids"].shape == (6, dataset.shapes[0][1])
            count += int((batch.record_ids >= 0).sum())
    assert count == 80
    nobody = RaggedBatch.from_ragged(
        Ragged.from_rows([[]], np.uint16), record_ids=np.array([-1]), spans=Ragged.from_rows([[]])
    )
    assert PreferenceCollator(9, layout=layout)(nobody)["labels"].eq(-100).all()
    assert PreferenceCollator(9, layout=layout)(nobody).num_supervised == 0


def test_rows_that_are_no_pairs_are_refused(preferences):
    with pytest.raises(CollateError, match=r"a batch has 3 rows, which are no pairs: .* set groups=True"):
        PreferenceCollator(0, supervise="all")([[1], [2], [3]])
    torn = RaggedBatch.from_ragged(
        Ragged.from_rows([[1], [2]]),
        record_ids=np.array([5, 6]),
        columns={"group": Ragged.from_rows([[2], [3]], np.int64)},
    )
    with pytest.raises(CollateError, match=r"records 5 and 6 are no pair: their groups are \[2, 3\]; set groups"):
        PreferenceCollator(0, supervise="all")(torn)
    with pytest.raises(CollateError, match="layout is 'flat': it must be 'padded' or 'packed'"):
        PreferenceCollator(0, layout="flat")
    with pytest.raises(CollateError, match='pad_to_multiple_of is for layout="padded"'):
        PreferenceCollator(0, layout="packed", pad_to_multiple_of=8)


def test_rows_of_a_list_are_pairs_in_turn():
    batch = PreferenceCollator(0, supervise="all")([[1, 2], [3], [4, 5, 6], [7, 8]])
    chosen, rejected = batch["input_ids"].chunk(2)
    assert chosen.tolist() == [[1, 2, 0], [4, 5, 6]]
    assert rejected.tolist() == [[3, 0, 0], [7, 8, 0]]
    assert batch.record_ids.tolist() == [0, 2, 1, 3]
    assert "PreferenceCollator(layout='padded', PaddingCollator(" in repr(PreferenceCollator(0))
