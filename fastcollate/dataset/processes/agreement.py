"""Whether all ranks mean the same: one small all-gather, and who differs in what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
import torch.distributed

from fastcollate.errors import StateError, StateMismatchError

__all__ = ["check_agreement"]

_FIELDS = 64  # a number of its own for each, so that all ranks send as many whatever they have


def check_agreement(fields: Mapping[str, Any], rank: int, world_size: int) -> None:
    """Compare named JSON values over all processes; every one of them must call it.

    Args:
        fields: What must be equal, the same names in the same order in every process.
        rank: The rank whose batches this process takes; processes that share a model have the same.
        world_size: The number of ranks, of which each must be taken.

    Raises:
        StateError: torch.distributed is not initialised.
        StateMismatchError: A process has another value, or other fields, than the first one, or nobody has a rank.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise StateError("check_ranks compares ranks through torch.distributed: call init_process_group first")
    names = ["the list of arguments", *fields]
    mine = torch.zeros(_FIELDS, dtype=torch.int64, device=_device())
    numbers = [_digest(list(fields)), *map(_digest, fields.values())]
    mine[: len(numbers)] = torch.tensor(numbers)
    mine[-1] = rank
    gathered = [torch.zeros_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, mine)
    first = gathered[0]
    for other, theirs in enumerate(gathered):
        different = (theirs[:-1] != first[:-1]).nonzero()
        if len(different):
            name = names[int(different[0])] if int(different[0]) < len(names) else names[0]
            here = f"; rank {rank} has {fields[name]!r:.200}" if name in fields else ""
            raise StateMismatchError(
                f"rank {other} differs from rank 0 in {name}{here}: give every rank the same corpus, "
                "arguments and state"
            )
    taken = [int(theirs[-1]) for theirs in gathered]
    missing = min(set(range(world_size)) - set(taken), default=None)
    if missing is not None:
        raise StateMismatchError(
            f"nobody takes the batches of rank {missing} of {world_size}: the processes have the ranks "
            f"{taken!s:.60}; give each its own rank=, and one rank only to those that share a model"
        )


def _digest(value: Any) -> int:
    return int.from_bytes(sha256(json.dumps(value).encode()).digest()[:7], "little")


def _device() -> torch.device:
    """Where the backend gathers tensors: NCCL does on the GPU only."""
    nccl = torch.distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
