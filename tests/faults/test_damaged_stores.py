"""Files that are damaged before a store is opened: what is read is right, or an error of ours, within a deadline.

`FASTCOLLATE_FAULTS=10000` tries so many flips of each layout instead of 40.
"""

import os
import random
import shutil
from collections import Counter

import pytest
from guarded import all_of, assert_right_or_told, outcome
from stores import lognormal_lengths, write_store

FLIPS = int(os.environ.get("FASTCOLLATE_FAULTS", "40"))
FEWER = max(10, FLIPS // 10)
LAYOUTS = ["arrow", "npy"]


@pytest.fixture(scope="module", params=LAYOUTS)
def sound(request, tmp_path_factory):
    """(a directory with a store of three shards, what reading it gives)."""
    path = tmp_path_factory.mktemp(request.param) / "store"
    lengths = lognormal_lengths(60, high=80)
    write_store(path, lengths, records_per_shard=20, layout=request.param, spans=True)
    kind, right = outcome(lambda: all_of(path))
    assert kind == "gave"
    return path, right


@pytest.fixture
def damaged(sound, tmp_path):
    """`damaged(change)`: the outcome of reading a copy in which `change(path)` changed something."""
    whole, right = sound
    path = tmp_path / "store"

    def read(change, **options):
        shutil.copytree(whole, path)
        try:
            harm = change(path)
            found = outcome(lambda: all_of(path, **options))
        finally:
            shutil.rmtree(path)
        assert_right_or_told(found, right, harm)
        return found[0]

    return read


def any_byte(path, drawn):
    """A file of a store and a place in it: each file is as likely as any other."""
    file = drawn.choice(sorted(path.iterdir()))
    return file, drawn.randrange(max(1, file.stat().st_size))


def put(file, at, data):
    whole = bytearray(file.read_bytes())
    whole[at : at + len(data)] = data
    file.write_bytes(whole)
    return f"{file.name} byte {at}"


def test_a_flipped_bit(damaged):
    drawn = random.Random(1)

    def flip(path):
        file, at = any_byte(path, drawn)
        return put(file, at, bytes([file.read_bytes()[at] ^ 1 << drawn.randrange(8)]))

    found = Counter(damaged(flip) for _ in range(FLIPS))
    assert found["told"] >= 0.9 * FLIPS  # padding between arrays is hashed, too; blocks' sums are not needed


def test_a_piece_of_zeros(damaged):
    drawn = random.Random(2)

    def blank(path):
        file, at = any_byte(path, drawn)
        return put(file, at, bytes(min(512, file.stat().st_size - at)))

    assert Counter(damaged(blank) for _ in range(FEWER))["told"] > 0


@pytest.mark.parametrize("way", ["cut", "grown", "gone", "a folder", "another's"])
def test_a_file_of_another_size(damaged, way):
    drawn = random.Random(way)

    def change(path):
        file, at = any_byte(path, drawn)
        if way == "cut":
            os.truncate(file, at)
        elif way == "grown":
            file.write_bytes(file.read_bytes() + bytes(drawn.randint(1, 4096)))
        elif way == "another's":
            shutil.copy(drawn.choice(sorted(path.iterdir())), path / "copy")
            (path / "copy").replace(file)
        else:
            file.unlink()
            if way == "a folder":
                file.mkdir()
        return f"{file.name} {way} at {at}"

    assert Counter(damaged(change) for _ in range(FEWER))["told"] > 0


def test_whole_shards_that_are_swapped(damaged):
    def swap(path):
        for file in path.glob("shard-00000.*"):
            other = path / file.name.replace("00000", "00001")
            draft = path / "draft"
            file.replace(draft)
            other.replace(file)
            draft.replace(other)
        return "shards swapped"

    assert damaged(swap) == "told"


@pytest.mark.parametrize("verify", ["none", "index", "full"])
def test_what_reads_never_dies_of_damage(sound, tmp_path, verify):
    """Nobody who trusts the files is promised to be told, but nothing outside them is read."""
    drawn, path = random.Random(verify), tmp_path / "store"
    for _ in range(FEWER):
        shutil.copytree(sound[0], path)
        file, at = any_byte(path, drawn)
        put(file, at, drawn.randbytes(min(8, file.stat().st_size - at)))
        kind, detail = outcome(lambda: all_of(path, verify=verify))
        shutil.rmtree(path)
        assert kind in {"gave", "told"}, f"{file.name} byte {at}: {kind} {detail}"
