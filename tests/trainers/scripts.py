"""Scripts that train, in processes of their own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE), str(HERE.parents[1])])  # `tiny`, and the library


def run_script(script, folder, *, seconds):
    """Run a script that gets `folder` as its argument and may import `tiny`; return the finished process."""
    (folder / "script.py").write_text(script)
    return subprocess.run(
        [sys.executable, folder / "script.py", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS},
        timeout=seconds,
        check=False,
    )


def on_two_ranks(script, *arguments, seconds=250):
    """Run a script as two ranks of one group, as torchrun would; return what each printed, and how it ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    begun = []
    for rank in ("0", "1"):
        launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        environment = {**os.environ, **launched, "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS}
        command = [sys.executable, script, *arguments]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    outputs = [process.communicate(timeout=seconds)[0] for process in begun]
    return outputs, [process.returncode for process in begun]
