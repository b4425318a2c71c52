"""How long a run that stopped takes to its next batch: here, and where batches must be skipped to get there."""

from functools import partial
from itertools import islice

import pytest
import torch

from benchmarks.harness.floors import share_of_sorting
from benchmarks.harness.states import state_after
from benchmarks.harness.timing import milliseconds
from fastcollate import BucketedDataset, PackedDataset, PackingCollator, PaddingCollator

POSITIONS = (0, 25, 50, 75, 99)  # per cent of the epoch
SKIPPING_ROUNDS = 3  # skipping to the end takes as long as the epoch


def entrants(store):
    """By name: what makes a fresh dataset, and its collator."""
    longest = int(store.length_histogram()[0][-1])
    packing = {"length": 2048, "batch_size": 8, "overlong": "split"}
    return {
        "batch_size": (partial(BucketedDataset, store, batch_size=32), PaddingCollator(256)),
        "max_tokens": (
            partial(BucketedDataset, store, max_tokens=max(16_384, longest)),
            PaddingCollator(256),
        ),
        "packing": (partial(PackedDataset, store, **packing), PackingCollator(256)),
    }


def resume(make, collate, state):
    """The next batch, from a state: what a process does that has just begun."""
    dataset = make()
    dataset.load_state_dict(state)
    return collate(next(iter(dataset)))


def skip(make, collate, batches):
    """The next batch, by making all that came before it and dropping them: what a plain loader must do."""
    return collate(next(islice(_made(make(), collate), batches, None)))


def _made(dataset, collate):
    for batch in dataset:
        yield batch
        collate(batch)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(torch.as_tensor(found[key]), torch.as_tensor(tensor)), key
    assert found.record_ids.tolist() == expected.record_ids.tolist()


@pytest.mark.parametrize("how", ["batch_size", "max_tokens", "packing"])
def test_resuming_against_skipping(figure, corpus, rounds, how):
    kind, store = corpus
    make, collate = entrants(store)[how]
    batches = len(make())
    for position in POSITIONS:
        number = batches * position // 100
        state = state_after(make(), number)
        assert_same(resume(make, collate, state), skip(make, collate, number))
        ours = milliseconds(partial(resume, make, collate, state), rounds)
        theirs = milliseconds(partial(skip, make, collate, number), min(rounds, SKIPPING_ROUNDS))
        share = share_of_sorting(store.at_epoch(0, 0).lengths_at, len(store), *(each / 1e3 for each in ours))
        for title, series, times, limit in (
            ("resuming at", how, ours, share),
            ("skipping to", f"{how}, skipping what came before", theirs, {}),
        ):
            facts = {"chart": "resume", "panel": kind, "series": series, "at": position, **limit}
            figure(f"{title} {position} %, {how}, {kind}", times, "ms", **facts)
