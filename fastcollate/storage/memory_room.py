"""How much memory files may fill, on this machine and within the limits that the process was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["memory_room"]

_ENDLESS = 1 << 60  # bytes: what a control group without a limit says, or more


def memory_room(root: Path = Path("/")) -> int | None:
    """Return the bytes that pages of files may fill before the system drops some; None where nobody tells.

    That is what the machine has available, or less where a control group of this process, of either version, or
    one that it lies in has a limit.

    Args:
        root: The directory that `proc` and `sys` lie in.
    """
    rooms = [room for room in (_of_machine(root), *_of_groups(root)) if room is not None]
    return min(rooms, default=None)


def _of_machine(root: Path) -> int | None:
    kilobytes = _fields(root / "proc/meminfo").get("MemAvailable")
    return None if kilobytes is None else kilobytes * 1024


def _of_groups(root: Path) -> Iterator[int | None]:
    """What is left in each control group that has a limit: pages of files count for it, and can be dropped."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, place = line.split(":", 2)
            if number == "0":
                names = ("memory.max", "anon")
                mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "total_rss")
                mounts = [root / "sys/fs/cgroup/memory"]
            else:
                continue
            for mount in mounts:
                here = mount / place.strip("/")
                # in a container the group's own files may lie at the mount itself
                for group in (here, *[above for above in here.parents if above.is_relative_to(mount)]):
                    yield _left_in(group, *names)


def _left_in(group: Path, limit_name: str, used_name: str) -> int | None:
    try:
        limit = int((group / limit_name).read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None
    return None if limit >= _ENDLESS else max(0, limit - _fields(group / "memory.stat").get(used_name, 0))


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of names and numbers."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, number, *_ = [*line.replace(":", " ").split(), "", ""]
            if number.isdigit():
                found[name] = int(number)
    return found
