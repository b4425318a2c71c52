"""What grows with the number of records and what does not: opening, first batch, restoring, the store's size."""

from functools import partial

import numpy as np
import pytest

from benchmarks.harness.corpora import lengths_of
from benchmarks.harness.floors import share_of_hashing, share_of_sorting, share_of_two_bytes
from benchmarks.harness.states import state_after
from benchmarks.harness.timing import milliseconds
from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreWriter, StreamLoader, TokenStore

CHUNK = 1 << 20
SIZES = {"batch_size": {"batch_size": 32}, "max_tokens": {"max_tokens": 512}}
COLLATE = PaddingCollator(256)


def write_tiny(path, records, layout="arrow"):
    """Records of 4 to 12 tokens each, so that what a record costs shows, and what a token costs does not."""
    with StoreWriter(path, encoding="bytes", layout=layout) as writer:
        for begin in range(0, records, CHUNK):
            lengths = np.random.default_rng([0, begin]).integers(4, 13, min(CHUNK, records - begin))
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            writer.append(Ragged((np.arange(offsets[-1]) % 251).astype(np.uint16), offsets))


@pytest.fixture(scope="module", params=[4, 5, 6, 7])
def tiny(request, tmp_path_factory, power_of_ten):
    """(exponent, path) of a store of 10^exponent tiny records."""
    path = tmp_path_factory.mktemp("scale") / "store"
    write_tiny(path, power_of_ten(request.param))
    return request.param, path


def bytes_in(path):
    return sum(file.stat().st_size for file in path.iterdir())


def assert_rows(batch, store):
    """The batch holds the rows it says, padded to the longest."""
    rows = [store[i].tolist() for i in batch.record_ids.tolist()]
    width = max(map(len, rows))
    assert batch["input_ids"].tolist() == [row + [256] * (width - len(row)) for row in rows]


def test_opening_a_store(figure, tiny, rounds):
    exponent, path = tiny
    for verify in ("none", "index"):
        times = milliseconds(partial(TokenStore, path, verify=verify), rounds)
        facts = {"chart": "opening", "series": f"verify={verify!r}", "at": 10**exponent}
        if verify == "index":
            index = bytes_in(path) - 2 * TokenStore(path).num_tokens
            facts |= share_of_hashing(index, *(each / 1e3 for each in times))
        figure(f"opening 10^{exponent} records, verify={verify!r}", times, "ms", **facts)
    figure(f"store of 10^{exponent} tiny records", bytes_in(path) / 1e6, "MB")


@pytest.mark.parametrize("limit", list(SIZES))
def test_the_first_batch_and_restoring(figure, tiny, rounds, limit):
    exponent, path = tiny
    store = TokenStore(path)

    def loader():
        return StreamLoader(BucketedDataset(store, **SIZES[limit]), COLLATE)

    with loader() as whole:
        assert_rows(next(iter(whole)), store)
    dataset = BucketedDataset(store, **SIZES[limit])
    state = state_after(dataset, int(len(dataset) * 0.99))

    def restored():
        with loader() as resumed:
            resumed.load_state_dict(state)
            batch = next(iter(resumed))
            assert resumed.state_dict()["batch"] == state["batch"] + 1
            return batch

    assert_rows(restored(), store)
    facts = {"series": limit, "at": 10**exponent}
    suffix = "" if limit == "batch_size" else f", {limit}"
    first = milliseconds(lambda: next(iter(loader())), rounds)
    title = f"first batch of 10^{exponent} records, from an open store{suffix}"
    figure(title, first, "ms", chart="first batch", **facts, **share_of_window(store, first))
    again = milliseconds(restored, rounds)
    title = f"restoring at 99 % of 10^{exponent} records, to the first batch{suffix}"
    figure(title, again, "ms", chart="restoring", **facts, **share_of_window(store, again))


def share_of_window(store, milliseconds_each):
    """Before its first batch a plan must know the lengths of a window."""
    return share_of_sorting(
        store.at_epoch(0, 0).lengths_at, len(store), *(each / 1e3 for each in milliseconds_each)
    )


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_a_store_is_little_larger_than_its_tokens(figure, tmp_path, sized, corpus, layout):
    kind, _ = corpus
    records = sized(20_000, 20_000, 2_000) if kind != "very-long" else sized(1_000, 1_000, 50)
    lengths = lengths_of(kind, records)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with StoreWriter(tmp_path / "store", encoding="bytes", layout=layout) as writer:
        writer.append(Ragged(np.zeros(offsets[-1], np.uint16), offsets))
    store = TokenStore(tmp_path / "store")
    assert store.lengths.tolist() == lengths.tolist()
    size = bytes_in(store.path) / store.num_tokens
    figure(f"store, {kind}, {layout}", size, "bytes a token", **share_of_two_bytes(size))
