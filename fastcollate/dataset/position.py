"""Where the next pass begins: a position that a process shares with the `DataLoader` workers that it starts.

Workers hold copies of a dataset, and persistent ones outlive a pass: the epoch that is set in the main process
must reach them, and how far they went must be known to it. A process forked otherwise (a notebook launcher's, one
for each rank) has a position of its own.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import get_worker_info

from fastcollate.dataset.shared_block import BATCH, ENDED, GIVING, GROUP, LOADS, MOVES, SharedBlock, is_alive
from fastcollate.errors import StateError
from fastcollate.plan.state import Position

__all__ = ["Pass", "SharedPosition"]


class Pass:
    """One pass over the rest of an epoch: where it began, and how much was delivered since.

    Attributes:
        start: Where the pass began.
        batch: The global batches of the epoch that were delivered, also before the pass.
        delivered: The batches that this pass delivered.
    """

    __slots__ = ("__weakref__", "_loads", "_place", "_shared", "_step", "batch", "delivered", "start")

    def __init__(self, place: SharedPosition, start: Position, *, step: int, shared: bool) -> None:
        self.start = start
        self.batch = start.batch
        self.delivered = 0
        self._place = place
        self._step = step  # global batches that are delivered while this pass delivers one
        self._shared = shared  # whether the position moves with this pass
        self._loads = place.loads

    def deliver(self) -> None:
        """Count a batch that is handed to whoever iterates; the position moves with the latest pass."""
        self.delivered += 1
        self.batch += self._step
        if self._place.latest is not self:
            return
        if self._shared:
            self._place.advance(self.batch)
        elif self.delivered == 1:
            self._place.note_stage(GIVING)

    def finish(self) -> None:
        """Go on to the next epoch, after the last batch."""
        if self._place.latest is not self:
            return
        if self._shared:
            self._place.move(Position(self.start.epoch + 1, 0, self.start.group))
        else:
            self._place.note_stage(ENDED)

    @property
    def position(self) -> Position:
        """How far the pass is, or the position that was loaded since."""
        return self._place.read() if self._loads != self._place.loads else self.start._replace(batch=self.batch)

    @property
    def overtaken(self) -> bool:
        """Whether a state was loaded since, and this is still the latest pass: another one is to follow.

        Raises:
            StateError: A state was loaded in the main process while `DataLoader` workers iterate.
        """
        if self._loads == self._place.loads or self._place.latest is not self:
            return False
        if not self._shared and self._loads[0] == self._place.loads[0]:
            raise StateError("load_state_dict was called while DataLoader workers iterate: begin a new iteration")
        return True


class SharedPosition:
    """A position in memory that is shared with the workers of this process, and with no other process.

    Attributes:
        kept: Whether the position is that of a state, and nothing was delivered since.
    """

    def __init__(self, position: Position) -> None:
        self.kept = False
        self._latest: weakref.ref[Pass] | None = None  # weak: an iterator that is dropped frees the block at once
        self._told: Position | None = None  # where a worker begins that has loaded a state of its own
        self._own_loads = 0
        self._last_seen = position  # what a block begins with that is made when it is first needed
        self._own: SharedBlock | None = None
        self._parents: SharedBlock | None = None
        self._launched: dict[int, int] = {}  # by thread: the processes begun so far that got this position
        self._birth = 0, 0  # the thread that began this process, and which of its processes this is
        _ALIVE.add(self)

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes the block, should it be a worker, and the position, should it be none."""
        birth = self._count_launch()
        here = {"_last_seen": self.read(), "_own": None, "_parents": self._block(), "_latest": None}
        return {**self.__dict__, **here, "_launched": {}, "_birth": birth}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _ALIVE.add(self)

    @property
    def latest(self) -> Pass | None:
        """The pass of this process that began last; None once nobody holds it, or the position was loaded."""
        return None if self._latest is None else self._latest()

    @property
    def loads(self) -> tuple[int, int]:
        """How many states were loaded so far: in this process, and in the one that shares the position."""
        return self._own_loads, int(self._block().numbers[LOADS])

    @property
    def workers_iterate(self) -> bool:
        """Whether a worker's pass since the position was set is under way, or was left: nobody knows how far."""
        if _in_worker() or not self._anyone_knows_more():
            return False
        gc.collect()  # an iteration that an error has ended may be kept by nothing but its own traceback
        return self._anyone_knows_more()

    def _anyone_knows_more(self) -> bool:
        """Whether a worker lives, or has made batches and not all of its pass."""
        notes = self._block().valid_notes()
        return bool((notes["stage"] == GIVING).any()) or any(map(is_alive, notes["process"].tolist()))

    def read(self) -> Position:
        """Return where the next pass of this process, or of the workers that it starts, begins."""
        if _in_worker():
            return self._told or self._block().position()
        return self._block().next_position()[0]

    def reached(self) -> Position:
        """Return how far the latest pass is, or else where the next one begins."""
        if _in_worker():
            return self.read() if self.latest is None else self.latest.position
        position, after_workers = self._block().next_position()  # workers that began did so after the latest pass
        return position if after_workers or self.latest is None else self.latest.position

    def regroup(self, before: int, after: int) -> None:
        """Plan a run that has not begun in steps for `after` ranks where it was `before`; notes of workers stay.

        Every worker may call it: they write the same.
        """
        numbers = self._block().numbers
        if not self.kept and numbers[BATCH] == 0 and numbers[GROUP] == before:
            numbers[GROUP] = after

    def move(self, position: Position, *, loaded: bool = False) -> None:
        """Set where the next pass begins; what workers noted before is void.

        Args:
            position: Where the next pass begins.
            loaded: Whether a state says so: then an iterator in use follows.
        """
        self.kept = loaded
        if not loaded:
            self._latest = None
        if _in_worker():
            self._told = position
            self._own_loads += loaded
            return
        block = self._block()
        block.move(position)
        block.numbers[LOADS] += loaded

    def advance(self, batch: int) -> None:
        """Set how many global batches of the epoch were delivered."""
        self.kept = False
        self._block().numbers[BATCH] = batch

    def note_stage(self, stage: int) -> None:
        """Note, as a worker, how far its pass is."""
        info = get_worker_info()
        if info is not None:
            self._block().note_of(info.id)["stage"] = stage

    def begin(self, settle: Callable[[Position], Position], size: int) -> Pass:
        """Return a new pass, which is the latest one.

        Args:
            settle: What turns a position into the next epoch's start where its epoch is over.
            size: The number of ranks.
        """
        info = get_worker_info()
        if info is None:
            reached, after_workers = self._block().next_position()
            start = settle(reached) if reached.batch else reached
            if start is not reached or after_workers:
                self._block().move(start)
            return self._follow(Pass(self, start, step=size, shared=True))
        block, (thread, number) = self._block(), self._birth
        team = hash((thread, number - info.id))  # one thread begins the workers of a pass one after another
        if self._told is None:
            start = _start_in_worker(block, info.id, team, settle)
        else:
            start, self._told = self._told, None
        block.note(info.id, team, start.epoch)
        return self._follow(Pass(self, start, step=size * info.num_workers, shared=False))

    def prepare_for_fork(self) -> None:
        """In the parent, before: keep the position for a child that is no worker."""
        self._last_seen = self.read()
        self._count_launch()

    def part_from_parent(self) -> None:
        """In the child, after: what was this process's own block is the parent's now."""
        thread = threading.get_ident()
        self._birth = thread, self._launched.get(thread, 0)
        if not _in_worker():
            self._own, self._parents = None, self._own

    def _follow(self, latest: Pass) -> Pass:
        self._latest = weakref.ref(latest)
        return latest

    def _count_launch(self) -> tuple[int, int]:
        thread = threading.get_ident()
        self._launched[thread] = self._launched.get(thread, 0) + 1
        return thread, self._launched[thread]

    def _block(self) -> SharedBlock:
        if self._parents is not None and _in_worker():
            return self._parents
        if self._own is None:
            self._own = SharedBlock.beginning_at(self._last_seen)
        return self._own


def _start_in_worker(
    block: SharedBlock, worker: int, team: int, settle: Callable[[Position], Position]
) -> Position:
    """Where a worker's pass begins.

    The first pass after the position was set begins there, and every later one an epoch after the pass before it:
    the workers of one pass are a team, and one that outlives a pass finds its own note.
    """
    valid, mine = block.valid_notes(), block.note_of(worker)
    start = settle(block.position())
    if mine["moves"] == block.numbers[MOVES] and mine["team"] == team:
        epoch = int(mine["epoch"]) + 1
    elif len(begun := valid[valid["team"] == team]["epoch"]):
        epoch = int(begun.max())
    else:
        epoch = int(valid["epoch"].max()) + 1 if len(valid) else start.epoch
    return start if epoch == start.epoch else Position(epoch, 0, start.group)


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
