"""A dataset over a plan: the epoch, ranks and workers, and a state that is a position in the plan."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import Any, Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from fastcollate.arguments import check_count
from fastcollate.corpus.corpus import Corpus
from fastcollate.corpus.mixture import Mixture
from fastcollate.dataset.position import SharedPosition
from fastcollate.dataset.world import World
from fastcollate.errors import PlanError, StateError
from fastcollate.plan.order import WindowedPlan
from fastcollate.plan.ranks import rank_batches
from fastcollate.plan.state import Position, check_state, make_state
from fastcollate.ragged import RaggedBatch

__all__ = ["Pass", "PlannedDataset"]

AnyPlan = TypeVar("AnyPlan", bound=WindowedPlan)


class Pass:
    """One pass over the rest of an epoch: where it began, and how many batches were delivered since.

    The dataset's position moves with what its latest pass delivers.
    """

    def __init__(self, dataset: PlannedDataset[Any], start: Position, *, step: int, loads: int) -> None:
        self.start = start
        self.delivered = 0
        self._dataset = dataset
        self._step = step  # global batches that are delivered while this pass delivers one
        self._loads = loads

    @property
    def batch(self) -> int:
        """The global batches of the epoch that were delivered."""
        return self.start.batch + self.delivered * self._step

    @property
    def overtaken(self) -> bool:
        """Whether a state was loaded since this pass began."""
        return self._loads != self._dataset.loads

    def deliver(self) -> None:
        """Count a batch that is handed to whoever iterates."""
        self.delivered += 1
        self._dataset.follow(self)
