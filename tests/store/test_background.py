"""Files are hashed beside what reads them, once a process."""

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from damage import change
from stores import write_store

from fastcollate import StoreCorruptError, TokenStore
from fastcollate.store.shards import background
from fastcollate.store.shards.background import BackgroundCheck

ROOT = Path(__file__).parents[2]
LENGTHS = [20_000] * 6  # two and a half blocks of tokens each


@pytest.fixture(params=["arrow", "npy"])
def store(request, tmp_path):
    write_store(tmp_path / "store", LENGTHS, records_per_shard=3, layout=request.param)
    return TokenStore(tmp_path / "store")


@pytest.fixture
def hashed(monkeypatch):
    """The number of bytes of each file that was hashed."""
    found, hash_file = [], background.hash_of
    monkeypatch.setattr(
        background, "hash_of", lambda data, *rest: (found.append(len(data)), hash_file(data, *rest))[1]
    )
    return found


def unverified(store):
    return store.at_epoch(0, 0).unverified()


def test_every_file_is_hashed_once_a_process(store, hashed):
    BackgroundCheck(unverified(store)).finish()
    assert sorted(hashed) == sorted(file.bytes for shard in store.manifest.shards for file in shard.files)
    assert unverified(store) == []
    again = TokenStore(store.path)
    assert len(unverified(again)) == 2
    BackgroundCheck(unverified(again)).finish()
    assert len(hashed) == sum(len(shard.files) for shard in store.manifest.shards)
    assert unverified(again) == []


def test_a_store_that_is_trusted_or_was_hashed_whole_is_not_hashed_again(store):
    for verify in ("none", "full"):
        assert unverified(TokenStore(store.path, verify=verify)) == []


def test_a_view_is_checked_where_its_records_lie(store):
    parts = store.split({"none": 0.0, "first": 0.5, "second": None})
    assert [[shard.first for shard in unverified(part)] for part in parts.values()] == [[], [0], [3]]
    drawn = store.split({"some": 0.4, "rest": None}, seed=0)
    for part in drawn.values():
        wanted = sorted({int(i) // 3 * 3 for i in part._records.chosen})
        assert [shard.first for shard in unverified(part)] == wanted


@pytest.mark.parametrize(
    ("array", "place", "value", "records"),
    [
        ("input_ids", 45_000, 77, "records 5 to 5"),
        ("input_ids", 39_999, 77, "records 4 to 5"),
        ("offsets", 1, 9, "records 3 to 5"),
    ],
)
def test_damage_is_told_with_the_file_and_the_records(store, array, place, value, records):
    change(store.path, 1, array, place, value)
    file = "shard-00001.arrow" if store.manifest.layout == "arrow" else f"shard-00001.{array}.npy"
    check = BackgroundCheck(unverified(TokenStore(store.path)))
    expected = rf"{file} has changed since it was written: its SHA-256 is not .* {records} of"
    for tell in (check.finish, check.raise_if_damaged, check.finish):
        with pytest.raises(StoreCorruptError, match=expected):
            tell()


def test_checksums_of_blocks_are_checked_too(store):
    file = store.path / "shard-00000.blocks.npy"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreCorruptError, match=r"shard-00000.blocks.npy has changed"):
        BackgroundCheck(unverified(TokenStore(store.path))).finish()


def test_what_is_closed_ends_and_leaves_the_rest(store, hashed, monkeypatch):
    monkeypatch.setattr(background, "_SLICE", 1)  # so that it takes a while
    before = threading.active_count()
    check = BackgroundCheck(unverified(store))
    check.raise_if_damaged()
    check.close()
    check._thread.join(timeout=30)
    assert threading.active_count() == before
    assert len(hashed) <= 1
    assert len(unverified(store)) == 2


def test_a_process_that_was_forked_meanwhile_hashes_the_rest_itself(store, monkeypatch):
    change(store.path, 1, "input_ids", 0, 77)
    held = threading.Event()
    hash_file = background.hash_of
    monkeypatch.setattr(background, "hash_of", lambda *given: (held.wait(60), hash_file(*given))[1])
    check = BackgroundCheck(unverified(TokenStore(store.path)))
    monkeypatch.setattr(background, "hash_of", hash_file)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=finish, args=(check, answers))
    child.start()
    assert "shard-00001" in answers.get()
    child.join()
    held.set()
    with pytest.raises(StoreCorruptError, match="shard-00001"):
        check.finish()


def test_where_no_thread_can_be_started_it_is_done_when_it_is_waited_for(store, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    change(store.path, 1, "input_ids", 0, 77)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        check = BackgroundCheck(unverified(TokenStore(store.path)))
    check.raise_if_damaged()
    with pytest.raises(StoreCorruptError, match="shard-00001"):
        check.finish()


LEAVE = """
import sys
from fastcollate import BucketedDataset, TokenStore
from fastcollate.store.shards import background
background._SLICE = 1
batches = iter(BucketedDataset(TokenStore(sys.argv[1]), batch_size=1))
print(len(next(batches)))
"""


def test_a_process_may_end_while_files_are_hashed(store):
    left = subprocess.run(
        [sys.executable, "-c", LEAVE, str(store.path)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (left.returncode, left.stdout, left.stderr) == (0, "1\n", "")


def finish(check, answers):
    try:
        check.finish()
    except StoreCorruptError as error:
        answers.put(str(error))
    else:
        answers.put("nothing")
