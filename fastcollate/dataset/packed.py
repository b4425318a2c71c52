"""Batches of packs: rows of one length that hold whole documents."""

from __future__ import annotations

from typing import Literal

from fastcollate.arguments import check_count
from fastcollate.corpus.corpus import Corpus, as_corpus, block_of
from fastcollate.corpus.row_targets import check_targets
from fastcollate.dataset.grouping import find_groups
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.dataset.processes.world import find_world
from fastcollate.errors import PlanError
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.plan.planning import plan_packs
from fastcollate.ragged import Ragged

__all__ = ["PackedDataset"]


class PackedDataset(PlannedDataset[BestFitPacks | WrappedPacks]):
    """A `PackedDataset` yields batches of packs: rows of `length` tokens that hold whole documents.

    Documents are packed anew each epoch. Use it like a `BucketedDataset`, with a `PackingCollator`. Every token of
    every record comes exactly once an epoch, but for what `overlong` or `drop_last` leaves out.

    Args:
        corpus: The records: a store, a view of one, a mixture, or a `Ragged` in memory.
        length: The number of tokens of a pack.
        batch_size: The number of packs of a batch, one by default; the last step of a window may have fewer.
        strategy: How documents become packs: `"best_fit"`, the default, never splits a document; `"wrap"` joins
            the shuffled documents and cuts them every `length` tokens, the classic stream of pretraining.
        overlong: What `"best_fit"` does with a record longer than `length`: `"error"`, the default, refuses it,
            `"truncate"` cuts it, `"drop"` leaves it out, `"split"` makes documents of `length` tokens and a rest.
        shuffle: Whether the order of records is random; with False they stay in order, window by window.
        shuffle_block: The number of consecutive records that stay together in the shuffle, so that a disk or an
            object store is read in blocks; by default the corpus decides, as for a `BucketedDataset`.
        lanes: The number of windows that are planned side by side, one by default, so that a node reads the
            records of its own lanes alone; see `BucketedDataset`.
        seed: The seed of the shuffle, from 0; the epoch is the other part of it.
        window: The number of records that are packed together.
        drop_last: Whether the last step is dropped if it is not full; with False its packs are dealt to the ranks.
        rank: The number of this process among all that train together; see `BucketedDataset`.
        world_size: The number of processes that train together; given together with `rank`, or not at all. Where
            some share a model, it is `from_mesh` that gives both.
        balance: The length at which a document's attention costs as much as the rest of the model's work on it,
            24,576 tokens by default, which is right for models of about 7 billion parameters. Where several ranks
            share a step its packs are neighbours in L + L**2 / balance, summed over their documents, and what a
            window leaves over is dealt out document by document, so that no rank waits for another. With
            `"targets"` they are neighbours in their number of targets instead, for a loss that is averaged on each
            rank. With None packs are dealt as they come.
        groups: Whether the records of a group, such as a preference pair, come in one pack and are never torn
            apart; the corpus needs a column `group`. False by default.
        accumulate: The number of consecutive batches of each rank that one step of the optimizer has, one by
            default; see `BucketedDataset`.

    Raises:
        PlanError: Arguments that make no plan for this corpus; a record that is too long is named.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1] * n for n in (6, 2, 3, 5)]))
    >>> store = TokenStore(directory)
    >>> sorted(sorted(batch.lengths.tolist()) for batch in PackedDataset(store, length=8))
    [[2, 6], [3, 5]]
    >>> [batch.lengths.tolist() for batch in PackedDataset(store, length=8, strategy="wrap", shuffle=False)]
    [[6, 2], [3, 5]]
    """

    def __init__(
        self,
        corpus: Corpus | Ragged,
        *,
        length: int,
        batch_size: int = 1,
        strategy: Literal["best_fit", "wrap"] = "best_fit",
        overlong: Literal["error", "truncate", "drop", "split"] = "error",
        shuffle: bool = True,
        shuffle_block: int | None = None,
        lanes: int = 1,
        seed: int = 0,
        window: int = 65_536,
        drop_last: bool = False,
        groups: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        balance: int | Literal["targets"] | None = 24_576,
        accumulate: int = 1,
    ) -> None:
        whole, world = as_corpus(corpus, error=PlanError), find_world(rank, world_size)
        records = whole.at_epoch(check_count("seed", seed, error=PlanError), 0)
        plan = plan_packs(
            whole.length_histogram(),
            records,
            length=length,
            batch_size=batch_size,
            strategy=strategy,
            overlong=overlong,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            shuffle_block=block_of(whole, shuffle_block),
            lanes=lanes,
            group=world.size * check_count("accumulate", accumulate, 1, most=2**20, error=PlanError),
            balance=check_targets(whole, balance),
            groups=find_groups(whole, groups),
        )
        super().__init__(whole, plan, records, world, int(accumulate))
