"""Batches of records of similar length."""

from __future__ import annotations

from collections.abc import Sequence

from fastcollate.arguments import check_count
from fastcollate.corpus.corpus import Corpus, as_corpus, block_of
from fastcollate.dataset.grouping import find_groups
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.dataset.processes.world import find_world
from fastcollate.errors import PlanError
from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.planning import plan_buckets
from fastcollate.ragged import Ragged

__all__ = ["BucketedDataset"]


class BucketedDataset(PlannedDataset[RowBuckets | TokenBuckets]):
    """A `BucketedDataset` yields batches of records of similar length, in an order that its arguments decide.

    Use it in a `StreamLoader` or a `DataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(...))`. Every
    rank gets the same number of batches, every record comes once an epoch over all ranks, and the order does not
    depend on the number of workers. A run that is resumed on another number of ranks keeps its order. A pass whose
    last batch was delivered is followed by the next epoch; `set_epoch` chooses another.

    Where the last step has too few records for all ranks, filler rows stand in: their `record_ids` are -1 and the
    loss ignores them. A rank has filler rows only if no other rank of that step has two records. The usual mean
    loss of such a batch is NaN: weigh its sum by `Batch.num_supervised`, which is 0.

    Args:
        corpus: The records: a store, a view of one, a mixture, or a `Ragged` in memory.
        batch_size: The number of rows of a batch. Give either `batch_size` or `max_tokens`.
        max_tokens: The largest number of padded tokens of a batch. Give either `max_tokens` or `batch_size`. Each
            batch is filled up, so that the ranks of a step have nearly as much, in different numbers of rows; with
            static `buckets` all have one shape.
        max_length: The number of tokens that longer records are cut to; by default records stay whole.
        buckets: The widths that batches are padded to, rising, or how many widths to choose so that padding is
            least; by default each batch is as wide as its longest row.
        shuffle: Whether the order of records and steps is random; with False the records of each window stay in
            place, sorted by length.
        seed: The seed of the shuffle, from 0; the epoch is the other part of it.
        window: The number of records that are sorted by length together.
        drop_last: Whether the last step is dropped if it is not full; with False filler rows fill it up.
        rank: The number of this process among all that train together; by default torch.distributed is asked,
            then the environment of torchrun, when the dataset is made and again when iteration begins.
        world_size: The number of processes that train together; given together with `rank`, or not at all. Where
            some share a model, it is `from_mesh` that gives both.
        shuffle_block: The number of consecutive records that stay together in the shuffle, so that a disk or an
            object store is read in blocks; with 1 every record is shuffled alone. By default the corpus decides:
            1 where its tokens take at most 8 GiB, else as many as take about 256 KiB.
        lanes: The number of windows that are planned side by side, one by default. The batches of a step come from
            all lanes, and neighbouring ranks share lanes: where each node has as many as another, it reads the
            records of its own lanes alone, and not each block that every other node reads too.
        longest_first: Whether each epoch begins with its largest step, so that an out-of-memory error comes in the
            first step rather than hours later; it costs a pass over the lengths.
        groups: Whether the records of a group, such as a preference pair, come in one batch and are never torn
            apart; the corpus needs a column `group`. A batch may then have fewer rows. False by default.
        accumulate: The number of consecutive batches of each rank that one step of the optimizer has, one by
            default. The batches of a step are alike on all ranks, and the largest come first. A run resumed with
            as many batches a step, such as 4 ranks x 8 after 8 ranks x 4, keeps every step; with another number
            steps are formed anew, from a step's end on.

    Every collated batch knows its step before the first forward and without asking another rank. The loss of one
    large batch, whatever its parts, over averaging data-parallel ranks:

        dataset = BucketedDataset(store, max_tokens=16_384, accumulate=4)
        loader = StreamLoader(dataset, PaddingCollator(pad, shift_labels=True), device="cuda")
        for batch in loader:
            logits = model(batch["input_ids"], batch["attention_mask"])
            loss = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")
            (loss / batch.step_num_supervised * world_size).backward()
            if batch.micro == dataset.accumulate - 1:
                optimizer.step(), optimizer.zero_grad()

    Raises:
        PlanError: Arguments that make no plan for this corpus.

    >>> from fastcollate import Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1] * n for n in (5, 2, 5, 2)]))
    >>> dataset = BucketedDataset(TokenStore(directory), batch_size=2)
    >>> sorted(batch.lengths.tolist() for batch in dataset)
    [[2, 2], [5, 5]]
    >>> dataset.epoch, BucketedDataset(Ragged.from_rows([[1], [2, 3]]), max_tokens=8, buckets=[4]).shapes
    (1, [(2, 4)])
    """

    def __init__(
        self,
        corpus: Corpus | Ragged,
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        max_length: int | None = None,
        buckets: Sequence[int] | int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 65_536,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        shuffle_block: int | None = None,
        lanes: int = 1,
        longest_first: bool = False,
        groups: bool = False,
        accumulate: int = 1,
    ) -> None:
        whole, world = as_corpus(corpus, error=PlanError), find_world(rank, world_size)
        records = whole.at_epoch(check_count("seed", seed, error=PlanError), 0)
        plan = plan_buckets(
            whole.length_histogram(),
            records,
            batch_size=batch_size,
            max_tokens=max_tokens,
            max_length=max_length,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
            window=window,
            drop_last=drop_last,
            group=world.size * check_count("accumulate", accumulate, 1, most=2**20, error=PlanError),
            shuffle_block=block_of(whole, shuffle_block),
            lanes=lanes,
            longest_first=longest_first,
            groups=find_groups(whole, groups),
        )
        super().__init__(whole, plan, records, world, int(accumulate))
