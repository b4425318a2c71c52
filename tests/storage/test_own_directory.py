"""File systems that lack what others have, and processes that lack descriptors."""

import errno
import os
import stat
from pathlib import Path

import pytest
from stores import contents

from fastcollate import StorageError, StoreWriteError, TokenStore, prepare
from fastcollate.cli.main import main
from fastcollate.storage.local import storage_error
from fastcollate.storage.own_directory import OwnDirectory

fcntl = pytest.importorskip("fcntl", reason="needs a POSIX system")
RECORDS = [{"text": str(i)} for i in range(10)]
OPTIONS = {"encoding": "bytes", "template": "text", "workers": 1}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_locks_a_store_is_written_and_it_is_said(tmp_path, monkeypatch, caplog, number):
    prepare(RECORDS, tmp_path / "usual", **OPTIONS)
    before = len(list(Path("/dev/fd").iterdir()))

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    prepare(RECORDS, tmp_path / "s", **OPTIONS)
    assert contents(tmp_path / "s") == contents(tmp_path / "usual")
    assert [record.message for record in caplog.records if "no locks here" in record.message] == [
        f"{tmp_path / 's'}: no locks here ({os.strerror(number)}): let no other process write there"
    ]
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_lock_that_another_holds_is_an_error(tmp_path):
    own = OwnDirectory(tmp_path / "s")
    with pytest.raises(StoreWriteError, match="another process is writing a store at"):
        prepare(RECORDS, tmp_path / "s", **OPTIONS)
    own.release()
    prepare(RECORDS, tmp_path / "s", **OPTIONS)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EIO])
def test_a_directory_that_cannot_be_brought_to_the_disk_keeps_its_store(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        return fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    if number == errno.EIO:
        with pytest.raises(StorageError, match="s: Input/output error"):
            prepare(RECORDS, tmp_path / "s", **OPTIONS)
        return
    prepare(RECORDS, tmp_path / "s", **OPTIONS)
    assert len(TokenStore(tmp_path / "s", verify="full")) == 10


def test_too_few_descriptors_are_told_as_such(tmp_path, monkeypatch, capsys):
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    fix = "Too many open files: let the process open more (ulimit -n)"
    assert str(storage_error(tmp_path, error)) == f"{tmp_path}: {fix}, or close some"

    def refuse(_):
        raise error

    monkeypatch.setattr("fastcollate.cli.main._run", refuse)
    assert main(["info", "store"]) == 1
    assert capsys.readouterr().err == f"fastcollate: {fix}\n"
