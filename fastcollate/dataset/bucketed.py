from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import numpy as np

from fastcollate.corpus.mixture import Mixture
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.plan.arguments import check_at_least_one, make_plan
from fastcollate.plan.bucket_plan import EpochPlan
from fastcollate.plan.order import LengthsAt, PlannedBatch
from fastcollate.ragged import IntArray, RaggedBatch
from fastcollate.store.reader import Records, TokenStore

__all__ = ["BucketedDataset"]

# What a state must agree with; the world may differ, and epoch and group are part of the state itself.
_FINGERPRINT = (
    "num_records",
    "batch_size",
    "max_tokens",
    "widths",
    "shuffle",
    "window",
    "drop_last",
    "shuffle_block",
    "longest_first",
)

_WIDTHS_SPELLED_OUT = 64


class BucketedDataset(PlannedDataset[EpochPlan]):
    """Batches of records of similar length, in a global order that is a pure function of its arguments.

    Use it in a `DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(...))` or a `StreamLoader`.
    Every rank gets the same number of batches, every record comes once an epoch over all ranks, and the order
    does not depend on the number of workers or ranks.

    Args:
        store: the records, of one store, a view of one, or a mixture.
        batch_size: rows of a batch; or
        max_tokens: padded tokens of a batch at most. Exactly one of the two.
        max_length: cut longer records to this many tokens.
        buckets: the widths batches are padded to (rising), or how many to choose for this store.
        shuffle: False keeps the records of each window in place, sorted by length.
        seed: of the shuffle, with the epoch.
        window: how many records are sorted by length together.
        drop_last: drop the last step if it is not full, instead of filling it up.
        rank, world_size: this process among all; by default `torch.distributed`'s, else torchrun's
            environment variables, else 0 of 1.
        shuffle_block: how many consecutive records stay together in the shuffle (1: none), for storage that
            likes to read ahead.
        longest_first: begin each epoch with its largest step, so that memory runs out at once or never; costs
            a pass over the lengths.

    Raises:
        PlanError: arguments that make no plan for this store.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1] * n for n in (5, 2, 5, 2)]))
    >>> dataset = BucketedDataset(TokenStore(directory), batch_size=2)
    >>> sorted(batch.lengths.tolist() for batch in dataset)
    [[2, 2], [5, 5]]
    """

    def __init__(
        self,
        store: TokenStore | Mixture,
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        max_length: int | None = None,
        buckets: list[int] | int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 65_536,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        shuffle_block: int = 1,
        longest_first: bool = False,
    ) -> None:
        super().__init__(store, seed=seed, rank=rank, world_size=world_size)
        self.max_length = None if max_length is None else check_at_least_one("max_length", max_length)
        self._plan = make_plan(
            _clip_histogram(*store.length_histogram(), self.max_length),
            self._lengths_of(self._records),
            batch_size=batch_size,
            max_tokens=max_tokens,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            group=self.world_size,
            shuffle_block=shuffle_block,
            longest_first=longest_first,
        )
        self.fingerprint = _fingerprint(store, self.max_length, self._plan)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, width) of this epoch's batches on any rank, before the collator adds anything.

        With `buckets` they are known without planning, one for each width; else the epoch is planned once.
        """
        return self._plan_for(self.position).shapes()

    @property
    def tokens_per_batch(self) -> float:
        """About how many tokens a batch has; with `max_tokens`, at most."""
        if self._plan.max_tokens is not None:
            return self._plan.max_tokens
        assert self._plan.batch_size is not None
        lengths, counts = self.store.length_histogram()
        return self._plan.batch_size * float(lengths @ counts) / max(1, len(self.store))

    def _lengths_of(self, records: Records) -> LengthsAt:
        return partial(_clipped_lengths, records, self.max_length)

    def _gather(self, records: Records, planned: PlannedBatch) -> RaggedBatch:
        batch = records.gather(planned.record_ids, width=planned.width)
        if self.max_length is not None:
            batch.lengths = np.minimum(batch.lengths, self.max_length)
        return batch


def _clipped_lengths(records: Records, max_length: int | None, indices: IntArray) -> IntArray:
    lengths = records.lengths_at(indices)
    return lengths if max_length is None else np.minimum(lengths, max_length)


def _fingerprint(store: TokenStore | Mixture, max_length: int | None, plan: EpochPlan) -> dict[str, Any]:
    arguments = {name: getattr(plan, name) for name in _FINGERPRINT}
    if plan.widths is not None and len(plan.widths) > _WIDTHS_SPELLED_OUT:
        arguments["widths"] = hashlib.sha256(repr(plan.widths).encode()).hexdigest()  # a state stays small
    return {"store": store.fingerprint, "max_length": max_length, **arguments}


def _clip_histogram(lengths: IntArray, counts: IntArray, max_length: int | None) -> tuple[IntArray, IntArray]:
    """A length histogram (int64[M] each) after records are cut to `max_length`."""
    if max_length is None or max_length >= lengths.max(initial=0):
        return lengths, counts
    kept = int(np.searchsorted(lengths, max_length))
    return np.append(lengths[:kept], max_length), np.append(counts[:kept], counts[kept:].sum())
