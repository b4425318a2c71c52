"""What cannot be joined is told, and a merge that fails, is stopped or is killed leaves no store."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from damage import change, overwrite
from stores import contents, write_store

from fastcollate import (
    InputError,
    Ragged,
    StorageError,
    StoreCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreWriteError,
    TokenStore,
    merge,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["arrow", "npy"])
def layout(request):
    return request.param


@pytest.fixture
def stores(tmp_path, layout):
    return [write_store(tmp_path / name, [3, 1, 2, 2], records_per_shard=2, layout=layout) for name in "ab"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "all"


@pytest.fixture
def without_links(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("given", ["a/store", Path("a"), 7, None])
def test_stores_are_given_as_a_list(path, given):
    with pytest.raises(InputError, match=r"merge got .*: give it a list of stores, such as their directories"):
        merge(given, path)


def test_an_open_store_alone_is_no_list(stores, path):
    with pytest.raises(InputError, match=r"merge got TokenStore\(.*: give it a list of stores"):
        merge(stores[0], path)
    with pytest.raises(InputError, match="merge got no stores: give it the directories of at least one"):
        merge([], path)
    with pytest.raises(InputError, match=r"a list with Ragged\(.*: give it directories of stores, or TokenStores"):
        merge([stores[0], Ragged.from_rows([[1]])], path)
    assert not path.exists()


def test_a_view_is_refused_and_a_view_of_everything_is_the_whole(stores, path):
    parts = stores[0].split({"train": 0.5, "test": None})
    with pytest.raises(
        InputError, match=r"a view of .*/a with 2 of its 4 records: whole shards are joined; merge"
    ):
        merge([stores[1], parts["test"]], path)
    assert not path.exists()
    assert len(merge([stores[1], stores[0].split({"all": None})["all"]], path)) == 8


def test_stores_that_do_not_go_together_are_named(stores, path, tmp_path, layout):
    write_store(tmp_path / "c", [1], layout=layout, spans=True)
    message = (
        f"{tmp_path}/c cannot be joined with {tmp_path}/a: has_spans is False in the one and True in the other: "
    )
    with pytest.raises(StoreWriteError, match=message):
        merge([*stores, tmp_path / "c"], path)
    assert not path.exists()


def test_what_is_no_store_is_told(stores, path, tmp_path):
    with pytest.raises(StoreError, match="none is not a directory"):
        merge([*stores, tmp_path / "none"], path)
    with pytest.raises(StoreWriteError, match="remote stores cannot be written yet; merge into a local directory"):
        merge(stores, "s3://bucket/all")
    assert not path.exists()


def test_the_place_of_a_store_is_left_alone(stores, tmp_path):
    before = contents(tmp_path / "a")
    with pytest.raises(StoreWriteError, match="already holds a store: remove it or choose another directory"):
        merge(stores, tmp_path / "a")
    with pytest.raises(StoreWriteError, match="already holds 'a': a store needs a directory of its own"):
        merge(stores, tmp_path)
    assert contents(tmp_path / "a") == before


@pytest.mark.skipif(sys.platform == "win32", reason="directories are locked on POSIX systems")
def test_of_two_writers_one_is_told(stores, path):
    import fcntl

    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(StoreWriteError, match=f"another process is writing a store at {path}: wait for it"):
        merge(stores, path)
    os.close(handle)
    assert len(merge(stores, path)) == 8


# Files that are not what the manifest says


@pytest.mark.parametrize("existed", [False, True])
def test_a_file_of_another_size_is_not_joined(stores, path, existed):
    if existed:
        path.mkdir()
    opened = [TokenStore(store.path, verify="none") for store in stores]
    file = stores[1].path / stores[1].manifest.shards[1].files[0].name
    overwrite(file, file.read_bytes()[:-1])
    with pytest.raises(StoreCorruptError, match=rf"{file} has \d+ bytes where the manifest has \d+"):
        merge(opened, path)
    assert path.exists() == existed
    assert not existed or contents(path) == {}


@pytest.mark.usefixtures("without_links")
def test_a_copy_is_hashed(stores, path):
    change(stores[1].path, 1, "input_ids", 0, 77)
    with pytest.raises(
        StoreCorruptError, match=r"/b/shard-00001\..* has changed since it was written: its SHA-256"
    ):
        merge(stores, path)
    assert not path.exists()


@pytest.mark.usefixtures("without_links")
def test_a_copy_has_its_size(stores, path):
    opened = [TokenStore(store.path, verify="none") for store in stores]
    file = stores[1].path / stores[1].manifest.shards[1].files[0].name
    overwrite(file, file.read_bytes() + b"more")
    with pytest.raises(StoreCorruptError, match=rf"{file} has \d+ bytes where the manifest has \d+"):
        merge(opened, path)
    assert not path.exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_missing_file_is_named(stores, path, links, request):
    if not links:
        request.getfixturevalue("without_links")
    opened = [TokenStore(store.path, verify="none") for store in stores]
    file = stores[1].path / stores[1].manifest.shards[1].files[-1].name
    file.unlink()
    with pytest.raises(StoreCorruptError, match=f"{file} is missing: restore it or prepare the store again"):
        merge(opened, path)
    assert not path.exists()


# A disk that fails


@pytest.mark.usefixtures("without_links")
def test_a_full_disk_is_our_error_and_leaves_nothing(stores, path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(StorageError, match=f"{path}/shard-00000.*: No space left on device: free the disk"):
            merge(stores, path)
    assert not path.exists()
    assert len(merge(stores, path)) == 8


@pytest.mark.usefixtures("without_links")
@pytest.mark.parametrize(("opening", "named"), [(True, "a/shard-00000"), (False, "all/shard-00000")])
def test_a_copy_that_fails_names_the_file(stores, path, monkeypatch, opening, named):
    def fail(source, target):
        raise OSError(errno.EIO, "Input/output error", str(source), *([] if opening else [None, str(target)]))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(StorageError, match=rf"{named}\..*: Input/output error: free the disk"):
        merge(stores, path)
    assert not path.exists()


# When it is interrupted


def test_ctrl_c_leaves_what_was_there_before(stores, path, monkeypatch):
    link, made = os.link, []

    def until(*given):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(link(*given))

    monkeypatch.setattr(os, "link", until)
    with pytest.raises(KeyboardInterrupt):
        merge(stores, path)
    assert not path.exists()


MERGE_UNTIL_KILLED = """
import os, signal, sys
from fastcollate import merge
after, links, *words = sys.argv[1:]
left, link = int(after), os.link

def until(*given, **options):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    if links == "no":
        raise OSError(18, "Invalid cross-device link")
    link(*given, **options)

os.link = until
merge(words[:-1], words[-1])
"""


@pytest.mark.parametrize("links", ["yes", "no"])
@pytest.mark.parametrize("after", [1, 5])
def test_a_killed_merge_leaves_no_store_and_the_same_call_begins_anew(stores, path, tmp_path, links, after):
    before = [contents(store.path) for store in stores]
    words = [str(after), links, *(str(store.path) for store in stores), str(path)]
    killed = subprocess.run([sys.executable, "-c", MERGE_UNTIL_KILLED, *words], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(contents(path)) == after
    with pytest.raises(StoreIncompleteError, match="its writer was stopped before it finished"):
        TokenStore(path)
    (path / "shard-00001.arrow.tmp").touch()
    merge(stores, path).verify()
    assert contents(path) == contents(merge(stores, tmp_path / "undisturbed").path)
    shutil.rmtree(path)
    assert [contents(store.path) for store in stores] == before


def test_another_writer_takes_over_what_a_killed_merge_left_and_harms_no_source(stores, path, layout):
    """What was left are second names of the sources' own files: they are removed, never written into."""
    before = [contents(store.path) for store in stores]
    path.mkdir()
    for file in stores[0].manifest.shards[0].files:
        os.link(stores[0].path / file.name, path / file.name)
    write_store(path, [5, 5, 5], layout=layout)
    assert [contents(store.path) for store in stores] == before
