from __future__ import annotations

from typing import Literal

from fastcollate.corpus.mixture import Mixture
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.plan.order import PlannedBatch
from fastcollate.plan.pack_plan import BestFitPacks, PackedBatch, WrappedPacks
from fastcollate.plan.planning import plan_packs
from fastcollate.ragged import RaggedBatch
from fastcollate.store.reader import Records, TokenStore

__all__ = ["PackedDataset"]

Strategy = Literal["best_fit", "wrap"]
Overlong = Literal["error", "truncate", "drop", "split"]


class PackedDataset(PlannedDataset[BestFitPacks | WrappedPacks]):
    """Batches of packs: rows of `length` tokens that hold whole documents, packed anew each epoch.

    Use it like a `BucketedDataset`, with a `PackingCollator`. Every token of every record comes exactly once an
    epoch (but for what `overlong` or `drop_last` leaves out).

    Args:
        store: the records, of one store, a view of one, or a mixture.
        length: tokens of a pack.
        batch_size: packs of a batch; the last step of a window may have fewer.
        strategy: `"best_fit"` never splits a document; `"wrap"` joins the shuffled documents and cuts them every
            `length` tokens, the classic stream of pretraining.
        overlong: what `"best_fit"` does with a record longer than `length`: `"error"`, `"truncate"`, `"drop"`, or
            `"split"` it into documents of `length` tokens and a rest.
        shuffle: False keeps the records in order, window by window.
        seed: of the shuffle, with the epoch.
        window: how many records are packed together.
        drop_last: drop the last step if it is not full, instead of dealing it out.
        rank, world_size: this process among all; see `BucketedDataset`.

    Raises:
        PlanError: arguments that make no plan for this store; a record that is too long is named.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1] * n for n in (6, 2, 3, 5)]))
    >>> dataset = PackedDataset(TokenStore(directory), length=8)
    >>> sorted(sorted(batch.lengths.tolist()) for batch in dataset)
    [[2, 6], [3, 5]]
    """

    def __init__(
        self,
        store: TokenStore | Mixture,
        *,
        length: int,
        batch_size: int = 1,
        strategy: Strategy = "best_fit",
        overlong: Overlong = "error",
        shuffle: bool = True,
        seed: int = 0,
        window: int = 65_536,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(store, seed=seed, rank=rank, world_size=world_size)
        self._plan = plan_packs(
            store.length_histogram,
            self._records,
            length=length,
            batch_size=batch_size,
            strategy=strategy,
            overlong=overlong,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            group=self.world_size,
        )
        self.fingerprint = {"store": store.fingerprint, **self._plan.fingerprint()}

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """All (packs, length) of this epoch's batches on any rank; the epoch is planned once to find them."""
        return self._plan_for(self.position).shapes()

    def _gather(self, records: Records, planned: PlannedBatch) -> RaggedBatch:
        assert isinstance(planned, PackedBatch)
        batch = records.gather(planned.record_ids, width=planned.width)
        pieces = planned.pieces
        batch.starts, batch.lengths = batch.starts + pieces.begins, pieces.lengths
        batch.cuts, batch.packs = pieces.begins, planned.packs
        return batch
