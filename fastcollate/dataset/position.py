"""Where the next pass begins: a position that a process shares with the `DataLoader` workers that it starts.

Workers hold copies of a dataset, and persistent ones outlive a pass: the epoch that is set in the main process
must reach them, and how far they went must be known to it. A process forked otherwise (a notebook launcher's, one
for each rank) has a position of its own.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from fastcollate.errors import LimitError
from fastcollate.plan.order import Landmark
from fastcollate.plan.state import Position

__all__ = ["Pass", "SharedPosition"]

_MOST_WORKERS = 512
# `moves` and `loads` count the times that a position was set, and set from a state. A worker's note says in which
# count of moves its last pass began, with which seed (equal for the workers of one pass), at which epoch, in which
# process; it is believed while nobody has moved the position since.
_NOTE = [("moves", np.int64), ("seed", np.int64), ("epoch", np.int64), ("process", np.int64)]
_BLOCK = np.dtype(
    [("position", np.int64, 6), ("moves", np.int64), ("loads", np.int64), ("notes", _NOTE, _MOST_WORKERS)]
)


class Pass:
    """One pass over the rest of an epoch: where it began, and how many batches were delivered since.

    Attributes:
        start: Where the pass began.
        step: The global batches of the epoch that are delivered while this pass delivers one.
        loads: The states that the dataset had loaded when the pass began.
        delivered: The batches that this pass delivered.
    """

    __slots__ = ("delivered", "loads", "start", "step")

    def __init__(self, start: Position, *, step: int, loads: tuple[int, int]) -> None:
        self.start = start
        self.step = step
        self.loads = loads
        self.delivered = 0

    @property
    def batch(self) -> int:
        """The global batches of the epoch that were delivered."""
        return self.start.batch + self.delivered * self.step


class SharedPosition:
    """A position in memory that is shared with the workers of this process, and with no other process."""

    def __init__(self, position: Position) -> None:
        self._last_seen = position  # what a block begins with that is made when it is first needed
        self._own: _Block | None = None
        self._parents: _Block | None = None
        _ALIVE.add(self)

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes the block, should it be a worker, and the position, should it be none."""
        return {"_last_seen": self.read(), "_own": None, "_parents": self._block()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _ALIVE.add(self)

    @property
    def loads(self) -> int:
        """How many states were loaded so far."""
        return int(self._block().record["loads"])

    @property
    def workers_began(self) -> bool:
        """Whether workers have begun a pass since the position was last set: they alone know how far they are."""
        return len(self._block().valid_notes()) > 0

    def read(self) -> Position:
        """Return where the next pass of this process, or of the workers that it starts, begins."""
        block = self._block()
        begun, position = block.valid_notes()["epoch"], block.position()
        return Position(int(begun.max()) + 1, 0, position.group) if len(begun) else position

    def move(self, position: Position, *, loaded: bool = False) -> None:
        """Set where the next pass begins; what workers noted before is void."""
        block = self._block()
        block.set_position(position)
        block.record["moves"] += 1
        block.record["loads"] += loaded

    def advance(self, batch: int) -> None:
        """Set how many global batches of the epoch were delivered."""
        self._block().numbers[1] = batch

    def begin_in_worker(self, worker: int, seed: int, settle: Callable[[Position], Position]) -> Position:
        """Return where a worker's pass begins, and note it.

        The first pass after the position was set begins there, and every later one an epoch after the pass before
        it: the workers of one pass are known by their seed, and one that is persistent by its process.

        Args:
            worker: The worker's number.
            seed: A number that the workers of one pass share.
            settle: What turns the position into the next epoch's start where its epoch is over.
        """
        block, process = self._block(), os.getpid()
        valid, mine = block.valid_notes(), block.note_of(worker)
        start = settle(block.position())
        if mine["moves"] == block.record["moves"]:
            later = valid[(valid["seed"] == seed) & (valid["epoch"] > mine["epoch"])]["epoch"]
            if mine["process"] == process:
                epoch = int(mine["epoch"]) + 1
            else:
                epoch = int(later.max() if len(later) else valid["epoch"].max() + 1)
        elif len(siblings := valid[valid["seed"] == seed]["epoch"]):
            epoch = int(siblings.max())
        else:
            epoch = int(valid["epoch"].max()) + 1 if len(valid) else start.epoch
        self.note_in_worker(worker, seed, epoch)
        return start if epoch == start.epoch else Position(epoch, 0, start.group)

    def note_in_worker(self, worker: int, seed: int, epoch: int) -> None:
        """Note at which epoch a worker's pass begins."""
        block = self._block()
        note = block.note_of(worker)
        note["moves"] = 0  # no sibling believes a note that is half written
        note["seed"], note["epoch"], note["process"] = seed, epoch, os.getpid()
        note["moves"] = block.record["moves"]

    def prepare_for_fork(self) -> None:
        """In the parent, before: keep the position for a child that is no worker."""
        self._last_seen = self.read()

    def part_from_parent(self) -> None:
        """In the child, after: what was this process's own block is the parent's now."""
        if not _in_worker():
            self._own, self._parents = None, self._own

    def _block(self) -> _Block:
        if self._parents is not None and _in_worker():
            return self._parents
        if self._own is None:
            self._own = _Block.beginning_at(self._last_seen)
        return self._own


class _Block:
    """The shared memory: a tensor that crosses process borders, and its numbers, which have names in `record`."""

    def __init__(self, memory: torch.Tensor) -> None:
        self._memory = memory
        self.numbers = memory.numpy()
        self.record = self.numbers.view(_BLOCK)[0]

    @classmethod
    def beginning_at(cls, position: Position) -> Self:
        memory = torch.zeros(_BLOCK.itemsize // 8, dtype=torch.int64, device="cpu")
        memory.share_memory_()  # type: ignore[no-untyped-call]
        block = cls(memory)
        block.set_position(position)
        block.record["moves"] = 1
        return block

    def __reduce__(self) -> tuple[object, ...]:
        return _Block, (self._memory,)

    def position(self) -> Position:
        epoch, batch, group, *landmark = self.numbers[:6].tolist()
        return Position(epoch, batch, group, Landmark(*landmark))

    def set_position(self, position: Position) -> None:
        self.numbers[:6] = [*position[:3], *position.landmark]

    def note_of(self, worker: int) -> Any:
        if worker >= _MOST_WORKERS:
            raise LimitError(f"worker {worker} of a DataLoader: a dataset serves {_MOST_WORKERS} workers at most")
        return self.record["notes"][worker]

    def valid_notes(self) -> NDArray[Any]:
        """What workers noted since the position was last set."""
        notes = self.record["notes"]
        valid: NDArray[Any] = notes[notes["moves"] == self.record["moves"]]
        return valid


def _in_worker() -> bool:
    return get_worker_info() is not None


_ALIVE: weakref.WeakSet[SharedPosition] = weakref.WeakSet()


def _before_fork() -> None:
    for position in list(_ALIVE):
        position.prepare_for_fork()


def _after_fork_in_child() -> None:
    for position in list(_ALIVE):
        position.part_from_parent()


if hasattr(os, "register_at_fork"):
    # The one thing done on import: nobody else tells a dataset that its process is another one now.
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
