"""A run restored at every step of two epochs, over ever other worlds, delivers what is left in the same order."""

from collections import Counter
from itertools import islice

import pytest
from stores import lognormal_lengths, write_store

from fastcollate import BucketedDataset, PackedDataset, export, mix, open_corpus

FIRST, CHAIN = 8, ((4, 1), (16, 1), (3, 2), (1, None))  # ranks, and how many steps they take
TOGETHER = 4 + 16 + 3 * 2  # the batches of these steps, before one rank takes the rest
LAYOUTS = {
    "padded": lambda corpus, **ranks: BucketedDataset(corpus, batch_size=3, window=100, **ranks),
    "static": lambda corpus, **ranks: BucketedDataset(corpus, max_tokens=200, buckets=[20, 50, 200], **ranks),
    "tokens": lambda corpus, **ranks: BucketedDataset(corpus, max_tokens=200, window=100, **ranks),
    "best fit": lambda corpus, **ranks: PackedDataset(corpus, length=200, window=100, **ranks),
    "split": lambda corpus, **ranks: PackedDataset(corpus, length=64, overlong="split", window=100, **ranks),
    "wrap": lambda corpus, **ranks: PackedDataset(corpus, length=64, strategy="wrap", window=100, **ranks),
    "mixture": lambda corpus, **ranks: BucketedDataset(mix([(corpus, 0.5), (corpus, 0.6)]), batch_size=3, **ranks),
    "blocks": lambda corpus, **ranks: BucketedDataset(corpus, batch_size=3, shuffle_block=8, window=100, **ranks),
    "foreign": lambda corpus, **ranks: BucketedDataset(corpus, batch_size=3, window=100, **ranks),
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """260 records as a store, and as Megatron's files."""
    folder = tmp_path_factory.mktemp("restored")
    store = write_store(folder / "store", lognormal_lengths(260), records_per_shard=90)
    export(store, folder / "megatron", format="megatron")
    return {"store": store, "foreign": open_corpus(folder / "megatron")}


def content(batch):
    return tuple((record, row.tobytes()) for record, row in zip(batch.record_ids.tolist(), batch, strict=True))


def taken(make, state, world_size, steps):
    """What all ranks take in so many steps, or to the epoch's end, step by step; and the state after it."""
    ranks = [make(rank=rank, world_size=world_size) for rank in range(world_size)]
    streams = []
    for dataset in ranks:
        if state is not None:
            dataset.load_state_dict(state)
        streams.append([content(batch) for batch in islice(iter(dataset), steps)])
    states = [dataset.state_dict() for dataset in ranks]
    assert all(found == states[0] for found in states)
    assert len({len(stream) for stream in streams}) == 1
    return [stream[step] for step in range(len(streams[0])) for stream in streams], states[0]


def rows_of(batches):
    return Counter(row for batch in batches for row in batch if row[0] >= 0)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_step_of_two_epochs_over_a_chain_of_worlds(corpora, layout):
    corpus = corpora["foreign" if layout == "foreign" else "store"]

    def make(**ranks):
        return LAYOUTS[layout](corpus, seed=4, **ranks)

    run, ordered = make(rank=0, world_size=FIRST), 0
    for _ in range(2):
        whole, _ = taken(make, run.state_dict(), 1, None)  # in the order of the epoch's batches
        assert len(whole) > 4 * FIRST
        batches = iter(run)
        for step in range(len(run)):
            left, found, state = whole[step * FIRST :], [], run.state_dict()
            for world_size, count in CHAIN:
                if len(found) < len(left):
                    some, state = taken(make, state, world_size, count)
                    found += some
            assert rows_of(found) == rows_of(left)
            changing = left[:TOGETHER]
            if len(changing) == TOGETHER and all(batch and batch[0][0] >= 0 for batch in changing):
                assert found == left
                ordered += 1
            next(batches)
        assert next(batches, None) is None
    assert ordered >= 6  # other steps were dealt out anew: at the epoch's end, or where a rank had fillers alone
