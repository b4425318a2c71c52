"""What a directory and a prefix of an object store have in common: one contract, held by both."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fastcollate.errors import InputError, StorageError
from fastcollate.storage.storage import open_storage

DATA = np.random.default_rng(3).bytes(3 << 20)


@pytest.fixture(params=["directory", "prefix"])
def storage(request, tmp_path):
    if request.param == "directory":
        return open_storage(tmp_path / "made" / "later")
    bucket, options = request.getfixturevalue("bucket"), request.getfixturevalue("options")
    return open_storage(f"{bucket}/made/later/", options)


def test_an_empty_place_has_nothing(storage):
    if "://" not in storage.url:
        Path(storage.url).mkdir(parents=True)
    assert storage.sizes() == {}
    assert storage.look_up("a") is None
    assert storage.read("a") is None
    storage.delete("a")
    with pytest.raises(StorageError, match=r"a: (there is no such object|No such file)"):
        storage.open("a")
    with pytest.raises(StorageError, match=r"a: (there is no such object|No such file)"):
        storage.rename("a", "b")


def test_names_are_kept_with_what_they_hold(storage):
    names = ["a/b/c.json", "a/b", "é ü#1%20?.txt", "z*[1].json", ".hidden", "a.json"]
    if "://" not in storage.url:
        names.remove("a/b")  # a file cannot be a directory
    for name in names:
        assert storage.put(name, name.encode())
    assert storage.sizes() == {name: len(name.encode()) for name in sorted(names)}
    assert list(storage.sizes()) == sorted(names)
    for name in names:
        with storage.open(name) as file:
            assert file.read() == name.encode()
        assert storage.look_up(name).size == len(name.encode())
        assert storage.read(name) == name.encode()


def test_a_file_is_read_from_any_place(storage):
    storage.put("data", DATA)
    random = np.random.default_rng(0)
    with storage.open("data") as file:
        assert (file.readable(), file.seekable()) == (True, True)
        assert file.read(10) == DATA[:10]
        assert file.readline() == DATA[10 : DATA.index(b"\n", 10) + 1]
        for start, size in random.integers(0, len(DATA), (40, 2)).tolist():
            assert file.seek(start) == start
            assert file.read(size) == DATA[start : start + size]
        assert file.seek(-7, os.SEEK_END) == len(DATA) - 7
        assert (file.read(), file.read(1)) == (DATA[-7:], b"")
        file.seek(0)
        assert file.read() == DATA
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_ranges_come_in_the_order_asked_for(storage):
    storage.put("data", DATA)
    ranges = [(5, 9), (2 << 20, 3 << 20), (0, 0), (4, 8), (len(DATA) - 1, len(DATA)), (0, len(DATA))]
    assert [bytes(part) for part in storage.read_ranges("data", ranges)] == [DATA[a:b] for a, b in ranges]
    assert storage.read_ranges("data", []) == []


def test_a_range_past_the_end_is_an_error(storage):
    storage.put("data", b"12345")
    for wanted in ((3, 6), (9, 12)):
        with pytest.raises(StorageError, match=r"data: (ends at byte|the object ends before)"):
            storage.read_ranges("data", [(0, 1), wanted])


def test_what_is_written_appears_whole_or_not_at_all(storage):
    with storage.replacing("data") as file:
        file.write(b"first")
        assert "data" not in storage.sizes()
    with suppress(KeyError), storage.replacing("data") as file:
        file.write(b"half of the sec")
        raise KeyError
    with storage.open("data") as file:
        assert file.read() == b"first"
    with storage.replacing("data") as file:
        file.write(b"second")
    assert bytes(storage.read_ranges("data", [(0, 6)])[0]) == b"second"


def test_a_file_is_copied_there_and_renamed_and_deleted(storage, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(DATA * 6)  # in three parts
    storage.upload(path, "a/draft")
    storage.put("a/final", b"older")
    storage.rename("a/draft", "a/final")
    assert storage.sizes() == {"a/final": 6 * len(DATA)}
    with storage.open("a/final") as file:
        assert file.read() == DATA * 6
    storage.delete("a/final")
    assert storage.sizes() == {}
    with pytest.raises(StorageError, match="nothing: No such file"):
        storage.upload(tmp_path / "nothing", "a")


def test_of_several_writers_one_wins(storage):
    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            words = [f"{number} by {writer}".encode() for writer in range(8)]
            name = f"claim-{number}"
            won = list(pool.map(lambda word, name=name: storage.put(name, word, if_absent=True), words))
            assert sorted(won) == [False] * 7 + [True]
            assert bytes(storage.read_ranges(name, [(0, 6)])[0]) == words[won.index(True)]
    assert len(storage.sizes()) == 5


def test_a_version_changes_with_the_content(storage):
    storage.put("data", b"12345")
    first = storage.look_up("data")
    assert storage.look_up("data") == first
    storage.put("data", b"54321")
    assert storage.look_up("data") != first


def test_a_place_says_where_it_is(storage):
    assert not storage.url.endswith("/")
    assert storage.url in repr(storage)
    path = storage.local_path("data")
    assert path is None if "://" in storage.url else str(path) == f"{storage.url}{os.sep}data"


@pytest.mark.parametrize("url", ["https://x.org/a", "ftp://x", "hdfs://a/b"])
def test_other_urls_are_no_storage(url):
    with pytest.raises(InputError, match="give a directory, or a URL that begins with s3://") as caught:
        open_storage(url)
    assert caught.value.reason == "bad_source"
