"""A store is written whole, or not at all."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from stores import contents

from fastcollate import (
    EncodingError,
    InputError,
    Ragged,
    StorageError,
    StoreIncompleteError,
    StoreWriteError,
    StoreWriter,
    TokenStore,
)
from fastcollate.tokenizers.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
ROWS = [[1, 2, 3], [4, 5], [6, 256], [7], [8]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def write(path, rows=ROWS, spans=None, source_rows=None, *, encoding="bytes", layout="arrow", records_per_shard=2):
    with StoreWriter(path, encoding=encoding, layout=layout, records_per_shard=records_per_shard) as writer:
        writer.append(Ragged.from_rows(rows), None if spans is None else Ragged.from_rows(spans), source_rows)
    return path


# The manifest


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_the_manifest_is_canonical_and_names_no_clock_host_or_path(path, layout):
    data = (write(path, layout=layout) / "manifest.json").read_bytes()
    manifest = json.loads(data)
    assert data == json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert data.isascii()
    for secret in (str(path), path.parent.name, os.uname().nodename):
        assert f'"{secret}'.encode() not in data
    assert (manifest["format"], manifest["version"], manifest["dtype"]) == ("fastcollate", 2, "uint16")
    assert manifest["encoding"]["name"] == "bytes"
    assert (manifest["encoding"]["n_vocab"], manifest["encoding"]["eot_token_id"]) == (257, 256)
    assert manifest["lengths"] == [[1, 2], [2, 2], [3, 1]]
    assert [(shard["records"], shard["tokens"]) for shard in manifest["shards"]] == [(2, 5), (2, 3), (1, 1)]


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_the_manifest_knows_every_file_by_size_and_hash(path, layout):
    found = contents(write(path, layout=layout))
    files = [file for shard in json.loads(found.pop("manifest.json"))["shards"] for file in shard["files"]]
    assert {file["name"] for file in files} == set(found)
    for file in files:
        data = found[file["name"]]
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_without_source_rows_records_count_on(path):
    with StoreWriter(path, encoding="bytes", records_per_shard=2) as writer:
        for rows in (ROWS[:3], [], ROWS[3:]):
            writer.append(Ragged.from_rows(rows))
    store = TokenStore(path)
    assert [store.source_row(i) for i in range(5)] == [0, 1, 2, 3, 4]


def test_the_manifest_has_the_template_and_counts_of_what_was_left_out(path):
    with StoreWriter(path, encoding="bytes", template="mine") as writer:
        writer.reject({"empty": 2})
        writer.append(Ragged.from_rows(ROWS))
        writer.reject({"overlong": 1, "empty": 1})
    manifest = TokenStore(path).manifest
    assert (manifest.template, manifest.rejected) == ("mine", {"empty": 3, "overlong": 1})
    with StoreWriter(path.with_name("plain"), encoding="bytes") as writer:
        writer.append(Ragged.from_rows(ROWS))
    manifest = TokenStore(writer.path).manifest
    assert (manifest.template, manifest.rejected) == (None, {})


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_a_manifest_counts_the_bytes_of_all_shards(path, layout):
    store = TokenStore(write(path, layout=layout))
    assert store.manifest.bytes == sum(
        file.stat().st_size for file in path.iterdir() if file.name != "manifest.json"
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_rows_may_lie_anywhere_in_what_is_appended(path, dtype):
    values = np.arange(20).astype(dtype)
    with StoreWriter(path, encoding="bytes", records_per_shard=np.int64(2)) as writer:
        writer.append(Ragged(values, [3, 5, 9]), Ragged(values, [0, 2, 2]))
        writer.append(Ragged(values, [9, 10]), Ragged(values, [20, 20]))
    store = TokenStore(path, verify="full")
    assert [row.tolist() for row in store] == [[3, 4], [5, 6, 7, 8], [9]]
    assert [store.spans(i).tolist() for i in range(3)] == [[[0, 1]], [], []]
    assert repr(writer) == f"StoreWriter({str(path)!r}, 3 records so far, 'bytes')"


# What cannot be stored


@pytest.mark.parametrize("wrong", [257, -1, 2**16, 2**40])
def test_an_id_outside_the_vocabulary_names_record_and_id(path, wrong):
    message = f"record 4 holds token id {wrong}: encoding 'bytes' has ids 0 to 256; write it with the encoding"
    with StoreWriter(path, encoding="bytes") as writer:
        writer.append(Ragged.from_rows(ROWS[:3]))
        with pytest.raises(StoreWriteError, match=message):
            writer.append(Ragged.from_rows([[1], [2, wrong, 3], [300]]))
    assert len(TokenStore(path)) == 3


@pytest.mark.parametrize(("largest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_ids_have_the_smallest_dtype_that_holds_the_vocabulary(path, largest, dtype):
    letters = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding(
        "custom", pat_str=r"(?s:.)", mergeable_ranks=letters, special_tokens={"<|endoftext|>": largest}
    )
    store = TokenStore(write(path, [[largest, 0]], encoding=encoding))
    assert (store[0].dtype, store[0].tolist(), store.eot_token_id) == (dtype, [largest, 0], largest)


def test_an_encoding_may_have_no_end_of_text(path):
    letters = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("custom", pat_str=r"(?s:.)", mergeable_ranks=letters, special_tokens={})
    assert TokenStore(write(path, [[1]], encoding=encoding)).eot_token_id is None


def test_an_empty_record_is_named(path):
    with pytest.raises(
        StoreWriteError, match="record 2 is empty: a record needs at least one token; leave it out"
    ):
        write(path, [[1], [2], [], [3]])
    assert not path.exists()


@pytest.mark.parametrize("wrong", [[0, 4], [4, 4], [2, 1], [1, 2, 0, 3], [-1, 2], [0, 2**32]])
def test_spans_that_fall_or_leave_their_record_are_refused(path, wrong):
    with pytest.raises(
        StoreWriteError, match="spans that fall or leave their record: each must be 0 <= start <= stop"
    ):
        write(path, [[9], [1, 2, 3], [9]], [[0, 1], wrong, []])
    assert not path.exists()


@pytest.mark.parametrize("wrong", [[[0, 1]], [[0, 1], [0]], [[0, 1], [], []]])
def test_spans_are_pairs_for_each_record(path, wrong):
    with pytest.raises(
        StoreWriteError, match=r"spans must hold flat \(start, stop\) pairs, one row for each record"
    ):
        write(path, [[1], [2]], wrong)


@pytest.mark.parametrize("wrong", [[1], [1, 2, 3], [[1, 2]], 5])
def test_every_record_has_one_source_row(path, wrong):
    with pytest.raises(StoreWriteError, match=r"source_rows has shape .*: it needs one row for each of 2"):
        write(path, [[1], [2]], source_rows=wrong)


def test_a_row_of_the_source_is_no_negative_number(path):
    with pytest.raises(StoreWriteError, match="source_rows"):
        write(path, [[1], [2]], source_rows=[0, -1])
    assert not path.exists()


def test_a_store_has_records(path):
    with (
        pytest.raises(StoreWriteError, match="no record was written; a store needs at least one"),
        StoreWriter(path, encoding="bytes"),
    ):
        pass
    assert not path.exists()


def test_wrong_arguments_are_refused(path):
    with pytest.raises(InputError, match="layout is 'parquet': it must be 'arrow' or 'npy'"):
        StoreWriter(path, encoding="bytes", layout="parquet")
    with pytest.raises(InputError, match="records_per_shard is 0: it must be an integer, at least 1"):
        StoreWriter(path, encoding="bytes", records_per_shard=0)
    with pytest.raises(InputError, match="records_per_shard is True: it must be an integer, at least 1"):
        StoreWriter(path, encoding="bytes", records_per_shard=True)
    with pytest.raises(EncodingError, match=r"encoding 'byte' is unknown.*did you mean \"bytes\""):
        StoreWriter(path, encoding="byte")


def test_a_tokenizer_whose_end_is_none_of_its_ids_is_refused(path):
    odd = Tokenizer.from_callable(lambda text: list(text.encode()), vocab_size=256, eot_token_id=256)
    with pytest.raises(EncodingError, match="ends a text with token 256: its ids are 0 to 255; correct its vocab"):
        StoreWriter(path, encoding=odd)
    assert not path.exists()


# Where it cannot be written


def test_a_directory_that_holds_something_else_is_left_alone(path):
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    (path / "shard-00000.arrow").write_text("left by a killed writer")
    with pytest.raises(StoreWriteError, match=r"already holds 'thesis.txt': a store needs a directory of its own"):
        write(path)
    assert sorted(contents(path)) == ["shard-00000.arrow", "thesis.txt"]


def test_a_store_is_not_overwritten(path):
    before = contents(write(path))
    with pytest.raises(StoreWriteError, match="already holds a store: remove it or choose another directory"):
        write(path, [[1]])
    assert contents(path) == before


def test_a_file_is_no_place_for_a_store(path):
    path.write_text("mine")
    with pytest.raises(StoreWriteError, match="is a file: a store is a directory; choose another path"):
        write(path)
    assert path.read_text() == "mine"


# When it is interrupted


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_inside_the_block_leaves_what_was_there_before(path, existed, error):
    if existed:
        path.mkdir()
    with pytest.raises(error):
        write_and_raise(path, error)
    assert path.exists() == existed
    assert not existed or contents(path) == {}


def write_and_raise(path, error):
    with StoreWriter(path, encoding="bytes", records_per_shard=1) as writer:
        writer.append(Ragged.from_rows(ROWS))
        assert len(contents(path)) == 10
        raise error


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("layout", ["arrow", "npy"])
@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
@pytest.mark.parametrize("records_per_shard", [2, 100])
def test_a_full_disk_is_our_error_and_leaves_nothing(path, monkeypatch, layout, failing, records_per_shard):
    with monkeypatch.context() as patch:
        patch.setattr(failing, no_space)
        with pytest.raises(StorageError, match=r"shard-00000.*: No space left on device: free the disk"):
            write(path, layout=layout, records_per_shard=records_per_shard)
    assert not path.exists()
    assert len(TokenStore(write(path))) == 5


def test_a_disk_that_fails_under_the_manifest_leaves_nothing(path, monkeypatch):
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: no_space() if to.name == "manifest.json" else replace(self, to)
    )
    with pytest.raises(StorageError, match=r"manifest.json: No space left on device"):
        write(path)
    assert not path.exists()


WRITE_UNTIL_KILLED = """
import os, signal, sys
from fastcollate import Ragged, StoreWriter
with StoreWriter(sys.argv[1], encoding="bytes", records_per_shard=2) as writer:
    writer.append(Ragged.from_rows([[1, 2, 3], [4, 5], [6, 256]]))
    open(sys.argv[1] + "/shard-00001.arrow.tmp", "w").write("half a shard")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_no_store_and_the_next_one_takes_over(path, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(contents(path)) == ["shard-00000.arrow", "shard-00000.blocks.npy", "shard-00001.arrow.tmp"]
    with pytest.raises(StoreIncompleteError, match="its writer was stopped before it finished; prepare or merge"):
        TokenStore(path)
    assert contents(write(path)) == contents(write(tmp_path / "undisturbed"))
