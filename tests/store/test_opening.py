"""Opening a store takes little: no library, no descriptor, and few maps."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damage import LAYOUTS, ROWS, write
from stores import write_store

from fastcollate import TokenStore

ROOT = Path(__file__).parents[2]

READ = """
import sys
from fastcollate import BucketedDataset, TokenStore
store = TokenStore(sys.argv[1], verify=sys.argv[2])
print([row.tolist() for row in store], [batch.lengths.tolist() for batch in BucketedDataset(store, batch_size=9)])
print("pyarrow" in sys.modules)
"""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verify", ["index", "full"])
def test_a_store_is_read_without_pyarrow(tmp_path, layout, verify):
    write(tmp_path / "store", layout)
    command = [sys.executable, "-c", READ, str(tmp_path / "store"), verify]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0].startswith(str(ROWS))
    assert said[1] == "False"


@pytest.mark.parametrize(("layout", "used"), [("arrow", 1), ("npy", 2)])
def test_a_shard_is_mapped_when_it_is_first_read_and_keeps_no_descriptor(tmp_path, layout, used):
    """`used` is how many files have the tokens and where each record begins."""
    shards, lengths = 300, np.arange(600) % 7 + 1
    write_store(tmp_path / "store", lengths, records_per_shard=2, layout=layout, spans=True)
    before = descriptors()
    store = TokenStore(tmp_path / "store", verify="none")
    assert maps_of(tmp_path) == 0
    assert store[7].tolist() == [7]
    assert maps_of(tmp_path) == used
    np.testing.assert_array_equal(store.lengths, lengths, strict=True)
    assert store.spans(599).tolist() == [[2, 5]]
    # where records begin in each shard; of one the tokens too, and of another its spans, which are two files
    assert maps_of(tmp_path) == shards + (3 if layout == "npy" else 0)
    everything = [shard.arrays[name] for shard in store._opened.shards for name in shard.arrays.entry.places]
    assert maps_of(tmp_path) == shards * (1 if layout == "arrow" else 6)
    assert descriptors() == before
    del store, everything
    assert maps_of(tmp_path) == 0


MANY_SHARDS = """
import resource, sys
from pathlib import Path
from fastcollate import BucketedDataset, TokenStore
from fastcollate.dataset import announced

announced.is_beyond_memory = lambda corpus: sys.argv[2] == "ahead"
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
dataset = BucketedDataset(TokenStore(sys.argv[1]), batch_size=50, shuffle_block=4)
assert sum(len(batch.lengths) for batch in dataset) == 600
print(Path("/proc/self/maps").read_text().count(f" {sys.argv[1]}/"))
"""


@pytest.mark.parametrize(("layout", "most", "how"), [("arrow", 3, "as mapped"), ("npy", 6, "ahead")])
def test_many_shards_are_read_within_the_limits_of_a_process(tmp_path, layout, most, how):
    """300 within 64 descriptors; of 10,000 shards six maps each are within the usual 65,530."""
    write_store(tmp_path / "store", np.arange(600) % 7 + 1, records_per_shard=2, layout=layout, spans=True)
    command = [sys.executable, "-c", MANY_SHARDS, str(tmp_path / "store"), how]
    said = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert 300 <= int(said.stdout) <= most * 300


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def maps_of(path):
    return Path("/proc/self/maps").read_text().count(f" {path}/")
