"""A store that is not what its writer wrote is refused, with the file's name, and never read as data."""

import hashlib
import multiprocessing
import os
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from damage import LAYOUTS, ROWS, change, edit, overwrite, write

from fastcollate import (
    BucketedDataset,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    TokenStore,
    UnsafeStoreError,
)


def tokens_of(path, shard=0):
    return next(
        file for file in path.glob(f"shard-{shard:05d}.*") if file.suffix == ".arrow" or "ids" in file.name
    )


# What is not there


def test_a_directory_without_a_manifest_is_an_unfinished_store(path):
    (path / "manifest.json").unlink()
    with pytest.raises(
        StoreIncompleteError, match=r"has no manifest.json: its writer was stopped.*prepare or merge it again"
    ):
        TokenStore(path)


def test_what_is_no_store_is_called_that(tmp_path):
    for name in ("", "notes.txt"):
        (tmp_path / name).touch()
        with pytest.raises(
            StoreError, match=r"holds no store: give the directory that `fastcollate prepare` made"
        ):
            TokenStore(tmp_path)
    for wrong in (tmp_path / "notes.txt", tmp_path / "gone"):
        with pytest.raises(StoreError, match="is not a directory: give the directory"):
            TokenStore(wrong)


def test_a_missing_shard_is_named(path):
    tokens_of(path, 1).unlink()
    for verify in ("index", "full"):
        with pytest.raises(StoreCorruptError, match=r"shard-00001\..* is missing: restore it"):
            TokenStore(path, verify=verify)
    trusting = TokenStore(path, verify="none")
    with pytest.raises(StoreCorruptError, match=r"shard-00001\..* is missing: restore it"):
        trusting[2]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_truncated_shard_is_named_with_both_sizes(path, size):
    file = tokens_of(path, 1)
    whole = file.stat().st_size
    overwrite(file, file.read_bytes()[:size])
    with pytest.raises(StoreCorruptError, match=rf"shard-00001.* has {size} bytes where the manifest has {whole}"):
        TokenStore(path)
    trusting = TokenStore(path, verify="none")
    assert [trusting[i].tolist() for i in range(2)] == ROWS[:2]  # of another shard
    with pytest.raises(StoreCorruptError, match=rf"shard-00001.* has {size} bytes where the manifest has {whole}"):
        trusting[2]


# What was changed


def test_swapped_shards_are_noticed_during_an_epoch(tmp_path):
    for layout in LAYOUTS:
        path = write(tmp_path / layout, layout, [[1, 2], [3], [4, 5], [6]])
        for file in sorted(path.glob("shard-00000*")):
            other = path / file.name.replace("00000", "00001")
            mine = file.read_bytes()
            overwrite(file, other.read_bytes())
            overwrite(other, mine)
        with pytest.raises(StoreCorruptError, match=r"shard-0000\d.* has changed since it was written"):
            list(BucketedDataset(TokenStore(path), batch_size=1))


def test_a_changed_token_is_noticed_by_verify_and_names_the_file(path):
    file = tokens_of(path)
    data = file.read_bytes()
    assert data.count(np.array([7, 7, 7], np.uint16).tobytes()) == 1
    overwrite(file, data.replace(b"\7\0\7\0\7\0", b"\7\0\6\0\7\0"))
    store = TokenStore(path)
    for check in (store.verify, lambda: TokenStore(path, verify="full")):
        with pytest.raises(StoreCorruptError, match=rf"{file.name} has changed since it was written: its SHA-256"):
            check()


def test_a_changed_boundary_is_noticed_during_an_epoch(path):
    change(path, 0, "offsets", 1, 4)
    store = TokenStore(path)
    assert store[0].tolist() == [7, 7, 7, 8]  # no longer than a record may be, and inside the file
    with pytest.raises(StoreCorruptError, match=r"shard-00000.* has changed since it was written"):
        list(BucketedDataset(store, batch_size=1))
    with pytest.raises(StoreCorruptError, match=r"shard-00000.* has changed since it was written"):
        TokenStore(path, verify="full")


@pytest.mark.parametrize("verify", ["none", "index"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("offsets", 1, 6), "must rise from 0 to at most 5"),
        (("offsets", 1, -1), "must rise from 0 to at most 5"),
        (("offsets", 2, 2**40), "must rise from 0 to at most 5"),
        (("offsets", 2, 4), "its offsets do not reach from 0 to the end"),
        (("offsets", 0, 1), "its offsets do not reach from 0 to the end"),
        (("offsets", 1, 0), "a record has a length that none has by the manifest"),
        (("offsets", 1, 5), "a record has a length that none has by the manifest"),
        (("span_offsets", 1, 5), "must rise from 0 to at most 4"),
        (("span_offsets", 2, 2), "its offsets do not reach from 0 to the end"),
        (("span_offsets", 1, 1), "a span is not inside its record"),
        (("spans", 1, 4), "a span is not inside its record"),
        (("spans", 0, 2), "a span is not inside its record"),
    ],
)
def test_a_boundary_that_leaves_its_array_is_refused_before_anything_is_read(path, verify, changed, message):
    change(path, 0, *changed)
    store = TokenStore(path, verify=verify)
    read = {"offsets": lambda: store[0]}.get(changed[0], lambda: store.spans(1))
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match=rf"shard-00000.* is not a file of this store \(.*{message}"):
            read()
    with pytest.raises(StoreCorruptError, match=r"shard-00000.* (is not a file of this store|has changed since)"):
        list(BucketedDataset(store, batch_size=1))
    assert store[2].tolist() == ROWS[2]  # of another shard


def test_a_whole_store_passes(path):
    for verify in ("none", "index", "full"):
        TokenStore(path, verify=verify).verify()


@pytest.mark.parametrize(
    ("layout", "files", "mask"),
    [
        ("arrow", "shard-*", 0x01),
        ("arrow", "shard-*", 0x40),
        ("npy", "shard-*", 0x01),
        ("npy", "manifest.json", 0x01),
    ],
)
def test_a_change_of_any_byte_is_a_store_error(tmp_path, layout, files, mask):
    """Every byte in turn, in a process of its own: a damaged file could crash what reads it."""
    path = write(tmp_path / "store", layout, ROWS[:2])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(unnoticed_changes, path, files, mask).result(timeout=100) == []


def unnoticed_changes(path: Path, files: str, mask: int) -> list[str]:
    """Each byte whose change is neither an error on opening nor of verify(), and each error that is not ours."""
    warnings.simplefilter("error")
    found = []
    for file in sorted(path.glob(files)):
        data = file.read_bytes()
        for at in range(len(data)):
            overwrite(file, data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            if (outcome := outcome_of_reading(path)) != "StoreError":
                found.append(f"{outcome}: {file.name} byte {at}, {data[max(0, at - 8) : at + 9]!r}")
        overwrite(file, data)
    return found


def outcome_of_reading(path):
    try:
        store = TokenStore(path)
        for i in range(len(store)):
            store[i].tobytes() + store.spans(i).tobytes()
        store.verify()
    except StoreError:
        return "StoreError"
    except Exception as error:  # noqa: BLE001  # any other is what the test looks for
        return repr(error)
    return "unnoticed"


# What was never ours


def test_an_object_array_is_refused_without_unpickling(tmp_path):
    path = write(tmp_path / "store", "npy")
    np.save(tmp_path / "evil.npy", np.array([Trap(tmp_path / "sprung")] * 5, object), allow_pickle=True)
    data = (tmp_path / "evil.npy").read_bytes()
    overwrite(path / "shard-00000.input_ids.npy", data)

    def admit(content):
        content["shards"][0]["files"][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit(path, admit)
    for verify in ("none", "index", "full"):
        store = TokenStore(path, verify=verify)
        assert store[0].dtype == np.uint16  # bytes like any others: no header of an array is believed
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("columns", [{"text": ["a", "b"]}, {"input_ids": [[1], None], "spans": [[], []]}])
def test_an_arrow_file_of_another_kind_is_refused(tmp_path, columns):
    path = write(tmp_path / "store", "arrow")
    batch = pa.RecordBatch.from_pydict(columns | {"source_row": [0, 1]})
    draft = tmp_path / "draft"
    with pa.ipc.new_file(str(draft), batch.schema) as writer:
        writer.write_batch(batch)
    shutil.move(draft, path / "shard-00000.arrow")
    with pytest.raises(StoreCorruptError, match=r"shard-00000.arrow has \d+ bytes where the manifest has"):
        TokenStore(path)


@pytest.mark.parametrize(
    "name", ["../shard-00000.arrow", "/etc/passwd", "shard-00000.arrow\0", "x/shard-00000.arrow", ""]
)
def test_a_name_outside_the_directory_is_unsafe(path, name):
    edit(path, lambda content: content["shards"][0]["files"][0].update(name=name))
    with pytest.raises(UnsafeStoreError, match=r"shard 0 names the files .*: a store's files have plain names"):
        TokenStore(path, verify="none")
