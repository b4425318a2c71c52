"""Files that somebody changes under a living reader: never wrong data without a word, never a dead process.

`FASTCOLLATE_FAULTS=10000` tries 1,000 changes of each kind instead of 6.
"""

import os
import random
import shutil
from functools import partial

import pytest
from guarded import all_of, assert_right_or_told, outcome
from stores import write_store

TRIES = max(6, int(os.environ.get("FASTCOLLATE_FAULTS", "0")) // 10)
LENGTHS = [300, 500, 200, 400] * 250  # of three parcels


@pytest.fixture(scope="module", params=["arrow", "npy"])
def sound(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "store"
    write_store(path, LENGTHS, records_per_shard=250, layout=request.param, spans=True)
    kind, right = outcome(lambda: all_of(path, verify="full"))
    assert kind == "gave"
    return path, right


def write_into(file, drawn):
    with file.open("r+b") as opened:
        opened.seek(drawn.randrange(file.stat().st_size))
        opened.write(drawn.randbytes(64))


def cut(file, drawn):
    os.truncate(file, drawn.randrange(file.stat().st_size))


def grow(file, drawn):
    with file.open("ab") as opened:
        opened.write(drawn.randbytes(500))


def replace(file, drawn):
    draft = file.with_name("draft")
    draft.write_bytes(drawn.randbytes(file.stat().st_size))
    draft.replace(file)


def remove(file, drawn):
    file.unlink()


@pytest.mark.parametrize("verify", ["index", "full"])
@pytest.mark.parametrize("harm", [write_into, cut, grow, replace, remove])
def test_a_file_that_changes_while_it_is_read(sound, tmp_path, harm, verify):
    whole, right = sound
    drawn, path, told = random.Random(harm.__name__), tmp_path / "store", 0
    for _ in range(TRIES // 2):
        shutil.copytree(whole, path)
        file = drawn.choice([file for file in sorted(path.glob("shard-*")) if "blocks" not in file.name])
        found = outcome(partial(all_of, path, verify=verify, then=partial(harm, file, drawn)))
        shutil.rmtree(path)
        assert_right_or_told(found, right, f"{harm.__name__} {file.name}")
        told += found[0] == "told"
    assert told > 0
