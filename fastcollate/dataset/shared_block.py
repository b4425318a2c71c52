"""The memory that a position lies in, shared by a process and the `DataLoader` workers that it starts."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.errors import LimitError
from fastcollate.plan.order import Landmark
from fastcollate.plan.state import Position

__all__ = [
    "BATCH",
    "BEGUN",
    "ENDED",
    "GIVING",
    "GROUP",
    "LOADS",
    "MOVES",
    "SharedBlock",
    "is_alive",
    "shared_integers",
]

_MOST_WORKERS = 256
# `moves` and `loads` count the times that a position was set, and set from a state. A worker's note says in which
# count of moves its last pass began, of which team (the workers that began together), at which epoch, in which
# process; it is believed while nobody has moved the position since.
_NOTE = [("moves", np.int64), ("team", np.int64), ("epoch", np.int64), ("process", np.int64), ("stage", np.int64)]
_BLOCK = np.dtype(
    [("position", np.int64, 7), ("moves", np.int64), ("loads", np.int64), ("notes", _NOTE, _MOST_WORKERS)]
)
BEGUN, GIVING, ENDED = 0, 1, 2  # stages of a worker's pass: nothing made yet, a batch made, all made
BATCH, GROUP, MOVES, LOADS = 1, 2, 7, 8  # their places in the block


class SharedBlock:
    """A tensor that crosses process borders, and the numbers in it: a position, counts, and notes of workers.

    Attributes:
        numbers: The position as seven numbers, then the counts at `MOVES` and `LOADS`, then the notes.
    """

    def __init__(self, memory: torch.Tensor) -> None:
        self._memory = memory
        self.numbers = memory.numpy()
        self._notes = self.numbers.view(_BLOCK)[0]["notes"]

    @classmethod
    def beginning_at(cls, position: Position) -> Self:
        """Return a new block without notes."""
        block = cls(shared_integers(_BLOCK.itemsize // 8))
        block.move(position)
        return block

    def __reduce__(self) -> tuple[object, ...]:
        return SharedBlock, (self._memory,)

    def position(self) -> Position:
        """Return the position that was set, or reached since."""
        epoch, batch, group, *landmark, begin = self.numbers[:MOVES].tolist()
        return Position(epoch, batch, group, Landmark(*landmark), begin)

    def next_position(self) -> tuple[Position, bool]:
        """Return where the next pass begins, and whether that is after passes of workers."""
        position, begun = self.position(), self.valid_notes()["epoch"]
        if len(begun) == 0:
            return position, False
        return Position(int(begun.max()) + 1, 0, position.group), True

    def move(self, position: Position) -> None:
        """Set the position; what workers noted before is void."""
        self.numbers[:MOVES] = [*position[:3], *position.landmark, position.begin]
        self.numbers[MOVES] += 1

    def note_of(self, worker: int) -> Any:
        """Return a worker's note, in place.

        Raises:
            LimitError: There is no room for a worker of that number.
        """
        if worker >= _MOST_WORKERS:
            raise LimitError(f"worker {worker} of a DataLoader: a dataset serves {_MOST_WORKERS} workers at most")
        return self._notes[worker]

    def note(self, worker: int, team: int, epoch: int) -> None:
        """Note at which epoch a worker's pass begins."""
        note = self.note_of(worker)
        note["moves"] = 0  # no sibling believes a note that is half written
        note["team"], note["epoch"], note["process"], note["stage"] = team, epoch, os.getpid(), BEGUN
        note["moves"] = self.numbers[MOVES]

    def valid_notes(self) -> NDArray[Any]:
        """Return what workers noted since the position was last set."""
        valid: NDArray[Any] = self._notes[self._notes["moves"] == self.numbers[MOVES]]
        return valid


def shared_integers(*shape: int) -> torch.Tensor:
    """Return zeros, int64[shape], in memory that other processes are given with the tensor."""
    memory = torch.zeros(shape, dtype=torch.int64, device="cpu")
    memory.share_memory_()  # type: ignore[no-untyped-call]
    return memory


def is_alive(process: int) -> bool:
    """Return whether a process of that number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
