from __future__ import annotations

import os

from fastcollate.errors import PlanError
from fastcollate.plan.planning import check_world

__all__ = ["place_in_world"]


def place_in_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process among all, (rank, world_size): as told, or as torch.distributed or torchrun's environment says.

    Raises:
        PlanError: one without the other, or a rank outside the world.

    >>> place_in_world(1, 4)
    (1, 4)
    """
    if (rank is None) != (world_size is None):
        raise PlanError(f"rank is {rank} and world_size is {world_size}: give both or neither")
    if rank is not None and world_size is not None:
        return check_world(rank, world_size)
    import torch.distributed  # noqa: PLC0415  # only a run that trains needs it

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    try:
        return check_world(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError:
        raise PlanError(
            "the environment's RANK and WORLD_SIZE are no integers: unset them or give rank="
        ) from None
