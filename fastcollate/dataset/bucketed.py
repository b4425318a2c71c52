from __future__ import annotations

import numpy as np

from fastcollate.corpus.mixture import Mixture
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.plan.bucket_plan import RowBuckets
from fastcollate.plan.order import PlannedBatch
from fastcollate.plan.planning import plan_buckets
from fastcollate.plan.token_buckets import TokenBuckets
from fastcollate.ragged import RaggedBatch
from fastcollate.store.reader import Records, TokenStore

__all__ = ["BucketedDataset"]


class BucketedDataset(PlannedDataset[RowBuckets | TokenBuckets]):
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
        self._plan = plan_buckets(
            store.length_histogram,
            self._records,
            batch_size=batch_size,
            max_tokens=max_tokens,
            max_length=max_length,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            group=self.world_size,
            shuffle_block=shuffle_block,
            longest_first=longest_first,
        )
        self.fingerprint = {"store": store.fingerprint, **self._plan.fingerprint()}

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (rows, width) of this epoch's batches on any rank, before the collator adds anything.

        With `buckets` they are known without planning, one for each width; else the epoch is planned once.
        """
        return self._plan_for(self.position).shapes()

    def _gather(self, records: Records, planned: PlannedBatch) -> RaggedBatch:
        batch = records.gather(planned.record_ids, width=planned.width)
        if self._plan.max_length is not None:
            batch.lengths = np.minimum(batch.lengths, self._plan.max_length)
        return batch
