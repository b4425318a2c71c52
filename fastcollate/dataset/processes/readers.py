"""Who reads a dataset of several ranks: accelerate's own loaders would deal out again what is dealt out."""

from __future__ import annotations

import sys
from typing import Any

from fastcollate.errors import PlanError

__all__ = ["check_reader"]

_DEALING = {
    "DataLoaderDispatcher": "on rank 0 alone, and deals what it reads out over all ranks",
    "DataLoaderShard": "on every rank, and keeps a part of what it reads",
}


def check_reader(dataset: Any, world_size: int) -> None:
    """Refuse to be read by a loader that deals out what is this rank's share already.

    accelerate is not imported: who uses it has done so, and it notes the loader that is about to iterate.

    Raises:
        PlanError: Such a loader begins to read `dataset`, which has several ranks.
    """
    state = sys.modules.get("accelerate.state")
    if world_size == 1 or state is None:
        return
    loader = state.GradientState().active_dataloader
    how = _DEALING.get(type(loader).__name__)
    read = getattr(loader, "dataset", None)
    if how is not None and (read is dataset or getattr(read, "dataset", None) is dataset):
        raise PlanError(
            f"accelerate's {type(loader).__name__} reads this dataset {how}: it is one rank's share of "
            f"{world_size}, and records would be missed; write loader = fastcollate.trainers.accelerate."
            "prepare_loader(accelerator, StreamLoader(dataset, collate_fn, device=accelerator.device)), or with "
            "Trainer of transformers class MyTrainer(fastcollate.trainers.hugging_face.StreamMixin, Trainer)"
        )
