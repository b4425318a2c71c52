"""Opening a store takes little: no library, no descriptor, and few maps."""

import subprocess
import sys
from pathlib import Path

import pytest
from damage import LAYOUTS, ROWS, write

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
