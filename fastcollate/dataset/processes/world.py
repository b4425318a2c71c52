"""This process among all that train together: asked when a dataset is made, and again when it is iterated."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch.distributed

from fastcollate.dataset.processes.meshes import warn_of_meshes
from fastcollate.errors import PlanError
from fastcollate.plan.planning import check_world

__all__ = ["World", "find_world"]

_UNKNOWN = "nothing so far"


class World(NamedTuple):
    """A rank, how many there are, and who said so."""

    rank: int
    size: int
    told_by: str

    @property
    def known(self) -> bool:
        """Whether anybody said so; else a process takes itself to be alone."""
        return self.told_by != _UNKNOWN

    def asked_again(self) -> World:
        """Return the world as it is known now that iteration begins.

        Raises:
            PlanError: The launcher now says something else than when the dataset was made, or only half of it.
        """
        if self.told_by == "the arguments":
            return self
        found = _look_around()
        if not self.known:
            if not found.known:
                _check_half_told()
            return found
        if found.known and found[:2] != self[:2]:
            raise PlanError(
                f"the dataset was made as rank {self.rank} of {self.size}, as {self.told_by} said; now "
                f"{found.told_by} says rank {found.rank} of {found.size}: make the dataset after "
                "init_process_group, or give rank= and world_size="
            )
        return self

    def warn_of_meshes(self) -> None:
        """Warn once where processes that share a model may take different batches, because nobody told a rank."""
        if self.size > 1 and self.told_by != "the arguments" and _look_around().told_by == "torch.distributed":
            warn_of_meshes()


def find_world(rank: int | None, world_size: int | None) -> World:
    """Return the world as told, or as torch.distributed or the environment of torchrun says; else a process alone.

    Raises:
        PlanError: One argument without the other, a rank outside the world, or no numbers in the environment.

    >>> find_world(1, 4)
    World(rank=1, size=4, told_by='the arguments')
    """
    if (rank is None) != (world_size is None):
        raise PlanError(f"rank is {rank} and world_size is {world_size}: give both or neither")
    if rank is not None and world_size is not None:
        return World(*check_world(rank, world_size), "the arguments")
    return _look_around()


def _look_around() -> World:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return World(torch.distributed.get_rank(), torch.distributed.get_world_size(), "torch.distributed")
    told = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if None in told:
        return World(0, 1, _UNKNOWN)
    try:
        rank, size = (int(str(number)) for number in told)
    except ValueError:
        raise PlanError(
            "the environment's RANK and WORLD_SIZE are no integers: unset them or give rank= and world_size="
        ) from None
    return World(*check_world(rank, size), "the environment")


def _check_half_told() -> None:
    """One of the two variables alone says that there are others, and not which of them this process is."""
    for name, missing, alone in (("WORLD_SIZE", "RANK", "1"), ("RANK", "WORLD_SIZE", "0")):
        value = os.environ.get(name)
        if value is not None and value != alone:
            raise PlanError(
                f"the environment has {name}={value} without {missing}: every process would take all records for "
                f"itself; set {missing}, call init_process_group first, or give rank= and world_size="
            )
