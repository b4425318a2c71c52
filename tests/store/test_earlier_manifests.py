"""A store that grew: the manifest of all, and the earlier ones, by which it is read as it was."""

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import pytest
from batches import contents
from damage import change, overwrite
from full_records import LAYOUTS, assert_holds, grow, made, together, write_full
from torch.utils.data import DataLoader

from fastcollate import (
    BucketedDataset,
    StoreChangedError,
    StoreCorruptError,
    StoreIncompleteError,
    TokenStore,
)
from fastcollate.store.manifest import is_store_file, kept_name
from fastcollate.store.shards.background import BackgroundCheck

FIRST, SECOND, THIRD = made(20), made(11, seed=1), made(5, seed=2)


@pytest.fixture(params=LAYOUTS)
def grown(request, tmp_path):
    """(path, fingerprint of each time) of a store of three parts, one appended after the other."""
    layout = request.param
    times = [write_full(tmp_path / "s", FIRST, layout=layout)]
    for name, records in (("b", SECOND), ("c", THIRD)):
        write_full(tmp_path / name, records, layout=layout)
        times.append(grow(tmp_path / "s", tmp_path / name))
    return tmp_path / "s", [store.fingerprint for store in times]


def listed(path):
    return sorted(file.name for file in path.iterdir() if file.name.startswith("manifest"))


# Reading


def test_a_store_that_grew_holds_all_records(grown):
    path, _ = grown
    assert_holds(TokenStore(path, verify="full"), together(FIRST, SECOND, THIRD))
    TokenStore(path).verify()


def test_each_earlier_fingerprint_opens_the_store_of_that_time(grown):
    path, fingerprints = grown
    times = [FIRST, together(FIRST, SECOND), together(FIRST, SECOND, THIRD)]
    for fingerprint, records in zip(fingerprints, times, strict=True):
        store = TokenStore(path, verify="full", fingerprint=fingerprint)
        assert store.fingerprint == fingerprint
        assert_holds(store, records)
        store.verify()
    assert listed(path) == sorted(["manifest.json", *map(kept_name, fingerprints[:2])])


def test_what_came_later_is_not_looked_at(grown):
    path, fingerprints = grown
    last = TokenStore(path).manifest.shards[-1]
    for file in last.files:
        (path / file.name).unlink()
    with pytest.raises(StoreCorruptError, match=rf"{last.files[0].name} is missing"):
        TokenStore(path)
    old = TokenStore(path, fingerprint=fingerprints[1])
    old.verify()
    assert_holds(old, together(FIRST, SECOND))
    check = BackgroundCheck(old.at_epoch(0, 0).unverified())
    check.finish()
    assert len(old.at_epoch(0, 0).unverified()) == 0


def test_damage_in_the_earlier_part_is_told(grown):
    path, fingerprints = grown
    change(path, 0, "input_ids", 0, 300)
    with pytest.raises(StoreCorruptError, match=r"shard-00000\..* has changed since it was written"):
        TokenStore(path, verify="full", fingerprint=fingerprints[0])


def test_a_copy_and_a_view_go_on_over_the_records_they_were_made_of(tmp_path):
    store = write_full(tmp_path / "s", FIRST)
    views = [*store.split({"a": 0.3, "b": None}).values(), *store.split({"a": 0.3, "b": None}, seed=3).values()]
    expected = [[row.tolist() for row in view] for view in (store, *views)]
    sent = [pickle.dumps(each) for each in (store, *views)]
    write_full(tmp_path / "b", SECOND)
    assert len(grow(tmp_path / "s", tmp_path / "b")) == 31
    for data, rows, mine in zip(sent, expected, (store, *views), strict=True):
        copy = pickle.loads(data)
        assert (len(copy), copy.fingerprint) == (len(rows), mine.fingerprint)
        assert [row.tolist() for row in copy] == rows
        assert [row.tolist() for row in pickle.loads(pickle.dumps(copy))] == rows
        assert [row.tolist() for row in mine] == rows


@pytest.mark.slow
def test_another_process_opens_the_store_of_that_time(tmp_path):
    store = write_full(tmp_path / "s", FIRST)
    write_full(tmp_path / "b", SECOND)
    grow(tmp_path / "s", tmp_path / "b")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(rows_of_all, store).result() == FIRST["rows"]


def rows_of_all(store):
    return [row.tolist() for row in store]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_has_begun_delivers_what_it_would_have(tmp_path, workers):
    store = write_full(tmp_path / "s", made(200))
    expected = contents(BucketedDataset(store, batch_size=4))
    running = BucketedDataset(TokenStore(store.path), batch_size=4)
    batches = iter(DataLoader(running, batch_size=None, num_workers=workers))
    found = contents(islice(batches, 3))
    write_full(tmp_path / "b", SECOND)
    grow(store.path, tmp_path / "b")
    assert found + contents(batches) == expected


def test_a_run_is_resumed_over_the_records_it_began_with(tmp_path):
    store = write_full(tmp_path / "s", made(200))
    first = BucketedDataset(store, batch_size=4)
    begun = contents(islice(iter(first), 5))
    state = first.state_dict()
    write_full(tmp_path / "b", SECOND)
    grow(store.path, tmp_path / "b")
    resumed = BucketedDataset(TokenStore(store.path, fingerprint=store.fingerprint), batch_size=4)
    resumed.load_state_dict(state)
    assert begun + contents(resumed) == contents(BucketedDataset(store, batch_size=4))


# What is refused


def test_another_fingerprint_is_told_with_how_many_are_kept(grown):
    path, fingerprints = grown
    message = (
        rf"its fingerprint is {fingerprints[-1][:12]}\.\.\., 2 earlier ones kept, none {'0' * 12}\.\.\.\): res"
    )
    with pytest.raises(StoreChangedError, match=message):
        TokenStore(path, fingerprint="0" * 64)
    for name in map(kept_name, fingerprints[:2]):
        (path / name).unlink()
    with pytest.raises(StoreChangedError, match=rf"is {fingerprints[-1][:12]}\.\.\., not {fingerprints[0][:12]}"):
        TokenStore(path, fingerprint=fingerprints[0])


@pytest.mark.parametrize("odd", ["", "../s/manifest", "A" * 64, 7, "f" * 63 + "\n"])
def test_what_is_no_fingerprint_opens_no_file(grown, odd):
    with pytest.raises(StoreChangedError, match="was never the one asked for"):
        TokenStore(grown[0], fingerprint=odd)


def test_a_kept_manifest_that_changed_is_corrupt(grown):
    path, fingerprints = grown
    for data in (b"", (path / "manifest.json").read_bytes()):
        overwrite(path / kept_name(fingerprints[0]), data)
        with pytest.raises(
            StoreCorruptError, match=rf"{kept_name(fingerprints[0])} has changed since it was writ"
        ):
            TokenStore(path, fingerprint=fingerprints[0])
    assert len(TokenStore(path)) == 36


def test_a_damaged_manifest_is_told_as_that_unless_the_wanted_one_is_kept(grown):
    path, fingerprints = grown
    overwrite(path / "manifest.json", b"{")
    with pytest.raises(StoreCorruptError, match=r"manifest.json is not JSON"):
        TokenStore(path, fingerprint=fingerprints[-1])
    assert_holds(TokenStore(path, fingerprint=fingerprints[0]), FIRST)


def test_a_kept_manifest_alone_is_no_store_and_a_writer_takes_it_away(grown):
    path, fingerprints = grown
    (path / "manifest.json").unlink()
    (path / f"{kept_name(fingerprints[0])}.tmp").touch()
    with pytest.raises(StoreIncompleteError, match="its writer was stopped"):
        TokenStore(path, fingerprint=fingerprints[0])
    write_full(path, FIRST)
    assert listed(path) == ["manifest.json"]


def test_a_store_in_place_of_one_that_grew_is_noticed(grown):
    path, fingerprints = grown
    shutil.rmtree(path)
    write_full(path, THIRD)
    with pytest.raises(StoreChangedError, match="was replaced by another store"):
        TokenStore(path, fingerprint=fingerprints[0])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (f"manifest-{'0a' * 32}.json", True),
        (f"manifest-{'0a' * 32}.json.tmp", True),
        (f"manifest-{'0a' * 31}.json", False),
        (f"manifest-{'0A' * 32}.json", False),
        ("manifest-.json", False),
        (f"manifest-{'0a' * 32}.json/x", False),
    ],
)
def test_names_of_kept_manifests_are_known(name, known):
    assert is_store_file(name) == known
