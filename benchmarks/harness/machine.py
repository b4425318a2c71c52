"""The machine and the versions that a results file's numbers depend on."""

import os
import platform
import shutil
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def machine(*, rounds, quick):
    """As a dict; no host name, no path and no clock."""
    import pyarrow as pa  # noqa: PLC0415  # who drives the peers' processes must share no library's memory with them
    import torch  # noqa: PLC0415

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cores": cores(),
        "memory_gigabytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "refill_gigabytes_per_second": refill_rate(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "torch": str(torch.__version__),  # its own class would bring torch with it
        "tiktoken": version("tiktoken"),
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain", "--untracked-files=no")),
        "rounds": rounds,
        "quick": quick,
    }


def cores():
    """Cores this process may use; not every system can tell them from the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def git(*words):
    """What git says about this repository; nothing where there is none."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def refill_rate():
    """How fast this machine fills memory it already has: the limit of any collate."""
    memory = np.empty(1 << 23, np.int64)
    memory.fill(0)
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        memory.fill(1)
        times.append(time.perf_counter() - begun)
    return memory.nbytes / statistics.median(times) / 1e9
