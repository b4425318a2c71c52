"""A disk that fails at any write, rename or fsync: a clear error, nothing wrong, and the same bytes later."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import contents

from fastcollate import StorageError, StoreError, StoreWriteError, TokenStore, prepare
from fastcollate.pretokenize.parts import tasks

STEP = int(os.environ.get("FASTCOLLATE_FAULT_STEP", "3"))  # 1 tries every operation
OPTIONS = {"encoding": "bytes", "template": "text", "workers": 1, "on_error": "skip"}
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)


class _File:
    """A file whose writes may fail."""

    def __init__(self, file, fail: Callable[[], None]):
        self._file = file
        self._fail = fail

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._fail()
        return self._file.write(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)


@contextmanager
def failing(monkeypatch, folder, at, error):
    """Within, operation number `at` under `folder` fails; the counter says how many there were."""
    counter = [0]

    def fail():
        counter[0] += 1
        if counter[0] - 1 == at:
            raise OSError(error, os.strerror(error))

    whole_open, replace, fsync = Path.open, Path.replace, os.fsync

    def opened(path, mode="r", *rest, **options):
        file = whole_open(path, mode, *rest, **options)
        if path.is_relative_to(folder) and not mode.startswith("r"):
            return _File(file, fail)
        return file

    def renamed(path, target):
        if path.is_relative_to(folder):
            fail()
        return replace(path, target)

    def synced(handle):
        fail()
        return fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        patch.setattr(Path, "replace", renamed)
        patch.setattr(os, "fsync", synced)
        yield counter


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["arrow", "npy"])
@pytest.mark.parametrize("append", [False, True])
def test_whatever_fails_is_told_and_the_next_run_makes_the_same_bytes(tmp_path, monkeypatch, append, layout):
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 2048)
    lines = [json.dumps({"text": f"{i} " + "x" * (i % 40)}) for i in range(120)]
    lines[4::25] = ['{"text": 5}'] * len(lines[4::25])
    source, out, options = tmp_path / "data.jsonl", tmp_path / "s", OPTIONS | {"layout": layout}
    source.write_text("\n".join(lines) + "\n")

    def begin(path):
        if append:
            prepare([{"text": "first"}], path, **options)

    begin(tmp_path / "whole")
    with failing(monkeypatch, tmp_path / "whole", -1, 0) as counter:
        prepare(source, tmp_path / "whole", append=append, **options)
    whole, operations = contents(tmp_path / "whole"), counter[0]
    assert operations > 30
    for at in range(0, operations, STEP):
        begin(out)
        fault = failing(monkeypatch, out, at, ERRORS[at % 3])
        with fault, pytest.raises(StorageError, match=r"No space|error|quota"):
            prepare(source, out, append=append, **options)
        try:
            found = len(TokenStore(out, verify="full"))
        except StoreError:
            assert not append
        else:
            assert found in ([1, 116] if append else [115])
        try:
            prepare(source, out, append=append, **options)
        except StoreWriteError as error:
            if "already holds a store" not in str(error):
                raise
        assert contents(out) == whole
        for file in out.iterdir():
            file.unlink()
