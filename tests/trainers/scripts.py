"""A script that trains, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_script(script, folder, *, seconds):
    """Run a script that gets `folder` as its argument and may import `tiny`; return the finished process."""
    (folder / "script.py").write_text(script)
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    return subprocess.run(
        [sys.executable, folder / "script.py", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        timeout=seconds,
        check=False,
    )
