"""A process and all that descend from it: their time, their memory, and their end (Linux: it reads /proc)."""

import os
import signal
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree_of(root):
    """The process `root` and all that descend from it."""
    children = {}
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        if stat := read_stat(pid):
            children.setdefault(int(stat[1]), []).append(pid)
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def read_stat(pid):
    """The fields of /proc/PID/stat after the name, or nothing if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def tree_cpu_seconds():
    """User and system time of this process and its descendants, the ended ones that were waited for included."""
    stats = [read_stat(pid) for pid in tree_of(os.getpid())]
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / TICK


def tree_pss_bytes(root):
    """Memory of a process and its descendants; what a page's users share is divided among them."""
    return sum(map(_pss_bytes, tree_of(root)))


def _pss_bytes(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def kill_tree(process):
    """End a `Popen` that has not ended, and all that descend from it, sessions of their own or not."""
    for pid in tree_of(process.pid) if process.poll() is None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
