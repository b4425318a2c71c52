"""A file is mapped to be read alone, holds no descriptor, and is unmapped with the last array over it."""

from pathlib import Path

import numpy as np
import pytest

from fastcollate import StorageError
from fastcollate.storage.local import map_file


def is_mapped(path):
    return str(path) in Path("/proc/self/maps").read_text()


def is_open(path):
    return any(link.is_symlink() and link.readlink() == path for link in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("size", [1, 4096, 10_001])
def test_the_bytes_of_a_file_are_an_array_that_cannot_be_written(tmp_path, size):
    data = bytes(i * 7 % 256 for i in range(size))
    path = tmp_path / "file"
    path.write_bytes(data)
    mapped = map_file(path)
    np.testing.assert_array_equal(mapped.data, np.frombuffer(data, np.uint8), strict=True)
    assert is_mapped(path)
    assert not is_open(path)
    view = mapped.data[: size // 2 * 2].view(np.uint16)
    for array in (mapped.data, view):
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
            array.flags.writeable = True
    del mapped, array
    np.testing.assert_array_equal(view, np.frombuffer(data[: size // 2 * 2], np.uint16), strict=True)
    assert is_mapped(path)
    del view
    assert not is_mapped(path)


def test_an_empty_file_has_no_bytes(tmp_path):
    (tmp_path / "file").touch()
    np.testing.assert_array_equal(map_file(tmp_path / "file").data, np.empty(0, np.uint8), strict=True)


def test_another_file_of_the_name_has_another_identity(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"same")
    first = map_file(path)
    assert map_file(path).identity == first.identity
    (tmp_path / "draft").write_bytes(b"same")
    (tmp_path / "draft").replace(path)
    second = map_file(path)
    assert second.identity != first.identity
    np.testing.assert_array_equal(second.data, first.data, strict=True)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_mapped_is_our_error(tmp_path, name):
    with pytest.raises(StorageError, match="free the disk or check the permissions"):
        map_file(tmp_path / name)
