"""Parts of a store: each record in one of them, groups whole, chosen by a seed or in order."""

import hashlib
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import gathered, write_store

from fastcollate import BucketedDataset, InputError, Ragged, StoreWriter, TokenStore

SHARES = {"train": 0.85, "test": 0.10, "val": None}


def rows_of(part):
    return [part.source_row(i) for i in range(len(part))]


def test_a_seed_chooses_records_from_all_over_the_store(tmp_path):
    store = write_store(tmp_path / "s", np.arange(1100) % 7 + 1, records_per_shard=300, spans=True)
    parts = store.split(SHARES, seed=3)
    assert {name: len(part) for name, part in parts.items()} == {"train": 935, "test": 110, "val": 55}
    assert Counter(row for part in parts.values() for row in rows_of(part)) == Counter(range(1100))
    test = rows_of(parts["test"])
    assert test == sorted(test)
    assert np.histogram(test, bins=4, range=(0, 1100))[0].min() > 15
    for part in parts.values():
        np.testing.assert_array_equal(part.lengths, store.lengths[rows_of(part)])
        np.testing.assert_array_equal(part.supervised, store.supervised[rows_of(part)])
        for found, expected in zip(
            part.length_histogram(), np.unique(part.lengths, return_counts=True), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        chosen = np.arange(len(part))[::-3]
        batch = gathered(part, chosen, ["spans"])
        for row, i in enumerate(chosen.tolist()):
            np.testing.assert_array_equal(batch[row], store[rows_of(part)[i]])
            np.testing.assert_array_equal(batch.spans[row].reshape(-1, 2), part.spans(i))
        np.testing.assert_array_equal(part.at_epoch(0, 0).lengths_at(chosen), part.lengths[chosen])


def test_seeds_and_parts_have_fingerprints_of_their_own(tmp_path):
    store = write_store(tmp_path / "s", np.arange(1, 51))
    views = [store, *store.split({"a": 0.5, "b": None}).values()]
    for seed in (0, 1):
        views += store.split({"a": 0.5, "b": None}, seed=seed).values()
    assert len({view.fingerprint for view in views}) == 7
    again = store.split({"a": 0.5, "b": None}, seed=1)["b"]
    assert (again.fingerprint, rows_of(again)) == (views[-1].fingerprint, rows_of(views[-1]))


def test_a_part_of_a_part_in_another_process_is_the_same(tmp_path):
    store = write_store(tmp_path / "s", np.arange(1, 101), records_per_shard=30)
    part = store.split({"a": 0.6, "b": None}, seed=1)["a"].split({"c": 0.5, "d": None})["d"]
    part = part.split({"e": 0.5, "f": None}, seed=2)["f"]
    other = pickle.loads(pickle.dumps(part))
    assert (len(part), rows_of(other), other.fingerprint) == (15, rows_of(part), part.fingerprint)
    assert len(pickle.dumps(part)) < 1500


def test_a_part_is_a_corpus(tmp_path):
    store = write_store(tmp_path / "s", np.arange(1, 101), records_per_shard=30)
    part = store.split(SHARES, seed=5)["train"]
    seen = Counter(i for batch in BucketedDataset(part, batch_size=8) for i in batch.record_ids.tolist() if i >= 0)
    assert seen == Counter(range(85))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(0, 5)),
    st.lists(st.floats(0, 0.5), min_size=1, max_size=3),
)
def test_groups_are_kept_whole(tmp_path_factory, sizes, records_per_shard, seed, shares):
    group = np.repeat(np.arange(len(sizes)), sizes)
    group = np.where(np.repeat(sizes, sizes) == 1, -1, group)
    path = tmp_path_factory.mktemp("groups") / "s"
    with StoreWriter(path, encoding="bytes", records_per_shard=records_per_shard) as writer:
        writer.append(Ragged.from_rows([[1]] * len(group)), columns={"group": group})
    names = {str(i): share for i, share in enumerate(shares)} if sum(shares) <= 1 else {"0": shares[0]}
    parts = TokenStore(path).split({**names, "rest": None}, seed=seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    homes = {name: {int(owner[row]) for row in rows_of(part)} for name, part in parts.items()}
    assert sum(map(len, parts.values())) == len(group)
    assert sum(map(len, homes.values())) == len(sizes)
    longest = max(sizes)
    for name, share in names.items():
        assert abs(len(parts[name]) - int(len(group) * share)) < longest


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_is_a_count(tmp_path, seed):
    store = write_store(tmp_path / "s", [1] * 20)
    with pytest.raises(InputError, match=f"seed is {seed}: it must be an integer, at least 0"):
        store.split({"a": 0.5}, seed=seed)


def rows(store):
    return [row.tolist() for row in store]


def test_the_notebooks_split_is_935_110_55_in_order(tmp_path):
    store = write_store(tmp_path / "store", np.arange(1100) % 7 + 1, records_per_shard=300, spans=True)
    parts = store.split({"train": 0.85, "test": 0.10, "val": None})
    assert {name: len(part) for name, part in parts.items()} == {"train": 935, "test": 110, "val": 55}
    assert [row for part in parts.values() for row in rows(part)] == rows(store)
    first = 0
    for part in parts.values():
        np.testing.assert_array_equal(part.lengths, store.lengths[first : first + len(part)])
        assert part.num_tokens == part.lengths.sum()
        for found, expected in zip(
            part.length_histogram(), np.unique(part.lengths, return_counts=True), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert [part.source_row(i) for i in (0, -1)] == [first, first + len(part) - 1]
        assert np.shares_memory(part[0], store[first])
        first += len(part)


def test_a_view_of_a_view_counts_from_its_own_start(tmp_path):
    store = write_store(tmp_path / "store", np.arange(1, 21), records_per_shard=6)
    inner = store.split({"a": 0.5, "b": None})["b"].split({"a": 0.3, "b": 0.5})["b"]
    assert [inner.source_row(i) for i in range(len(inner))] == [13, 14, 15, 16, 17]
    np.testing.assert_array_equal(inner.lengths, np.arange(14, 19))
    np.testing.assert_array_equal(inner.take([4, 0]).lengths, np.array([18, 14]))


def test_every_part_has_a_fingerprint_of_its_own(tmp_path):
    store = write_store(tmp_path / "store", [1, 2, 3, 4])
    manifest = (tmp_path / "store/manifest.json").read_bytes()
    assert store.fingerprint == hashlib.sha256(manifest).hexdigest()
    parts = store.split({"a": 0.5, "b": 0.25, "c": None, "empty": 0.0})
    assert len({store.fingerprint, *(part.fingerprint for part in parts.values())}) == 5
    assert store.split({"all": 1.0})["all"].fingerprint == store.fingerprint
    assert TokenStore(tmp_path / "store", verify="none").fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"a": 0.9, "b": 0.2}, "together they are at most 1, and one None at most"),
        ({"a": None, "b": None}, "together they are at most 1, and one None at most"),
        ({"a": -0.1}, r"split share 'a' is -0\.1: a share is a number from 0 to 1, or None for the rest"),
        ({"a": 0.5, "b": "0.5"}, "split share 'b' is '0.5': a share is a number from 0 to 1"),
        ({"a": float("nan")}, "split share 'a' is nan: a share is a number from 0 to 1"),
    ],
)
def test_shares_that_make_no_sense_are_refused(tmp_path, shares, message):
    store = write_store(tmp_path / "store", [1] * 20)
    with pytest.raises(InputError, match=message):
        store.split(shares)
