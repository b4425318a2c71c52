"""The loader: a dataset's batches, collated, on a device, and an exact count of them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import torch

from fastcollate.arguments import check_choice, check_count, check_seconds
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.device.copier import DeviceCopier
from fastcollate.errors import InputError, StateError
from fastcollate.loader.crew import Crew
from fastcollate.loader.delivery import Delivery
from fastcollate.loader.feeds import Feed, fills_flat, fills_memory
from fastcollate.loader.slots import can_share
from fastcollate.loader.stats import LoaderStats

__all__ = ["StreamLoader"]


_OF_A_SAMPLER = frozenset({"batch_size", "drop_last", "sampler", "batch_sampler"})


class StreamLoader:
    """A `StreamLoader` delivers the batches of a dataset, ready on a device, and counts exactly what it delivered.

    Each `iter()` delivers what is left of the current epoch; once the last batch of an epoch was delivered,
    whether or not the loop asked for more, the next `iter()` delivers the next epoch. Leaving a loop early and
    iterating again goes on where the loop stopped. `state_dict` counts the batches that were delivered, whatever
    was prepared ahead. A copy of a loader, also a pickled one, has a dataset of its own that begins where this one
    is.

    Batches are made several at a time, in parcels of at most 131,072 cells a tensor (twice as many where workers
    make them) or one batch; the first has one batch. A batch that is kept keeps the memory of its parcel, and
    `Batch.clone` makes it independent.

    For a CUDA device parcels are prepared ahead: a background thread finds, collates and copies them. On the CPU
    each parcel is made when its first batch is asked for: there a thread would share the interpreter with its
    consumer and, measured, cost more than it hides. CUDA graphs are captured beside a loader with
    `capture_error_mode="thread_local"`, because the thread goes on allocating.

    Args:
        dataset: A `BucketedDataset` or `PackedDataset`.
        collate_fn: What makes a batch of a `RaggedBatch`, such as a `PaddingCollator`. A collator with `columns`
            says what is gathered for it beside the tokens; for other functions all columns are.
        device: Where the tensors go; by default they stay on the CPU.
        prefetch: The number of parcels that wait ready on a CUDA device; small ones wait several at a time, up to
            2 MB.
        transfer: What is copied to the device: with `"padded"`, the default, the collated tensors; with `"ragged"`
            only the real tokens in the store's own dtype, which are padded and masked on the device: the same
            batches for a tenth of the bytes.
        num_workers: The number of processes that read the records and run `collate_fn`, whose tensors then lie in
            memory that this process shares. For a device, a collator of ours runs here. Dataset and collator of
            this library are read by the same processes epoch after epoch, until one of them is changed or an
            epoch is left early; with others each epoch has new processes. With 0, the default, everything happens
            in this process, which is faster where a batch costs little.
        timeout: The seconds for which a worker may send nothing before a `WorkerError` names it.

    Raises:
        InputError: An argument out of range, or a device that does not exist here.
        PlanError: A batch may not fit a collator of a fixed capacity; see the dataset's `plan_for`.
        WorkerError: A worker process died, or sent nothing for `timeout` seconds.

    >>> from fastcollate import BucketedDataset, PaddingCollator, Ragged, StoreWriter, TokenStore
    >>> import tempfile
    >>> directory = tempfile.mkdtemp() + "/store"
    >>> with StoreWriter(directory, encoding="bytes") as writer:
    ...     writer.append(Ragged.from_rows([[1, 2, 3], [4, 5, 6], [7]]))
    >>> dataset = BucketedDataset(TokenStore(directory), batch_size=2, shuffle=False)
    >>> with StreamLoader(dataset, PaddingCollator(256)) as loader:
    ...     [tuple(batch["input_ids"].shape) for batch in loader], loader.epoch
    ([(2, 3), (1, 1)], 1)
    """

    def __init__(
        self,
        dataset: PlannedDataset[Any],
        collate_fn: Callable[[Any], Any],
        *,
        device: torch.device | str | int | None = None,
        prefetch: int = 2,
        transfer: Literal["padded", "ragged"] = "padded",
        num_workers: int = 0,
        timeout: float = 600,
    ) -> None:
        check_choice("transfer", transfer, ("padded", "ragged"))
        fills = _check_collator(collate_fn, ragged=transfer == "ragged")
        if not isinstance(dataset, PlannedDataset):
            raise InputError(f"the dataset is a {type(dataset).__name__}: give a BucketedDataset or PackedDataset")
        dataset.plan_for(collate_fn)
        self.prefetch = check_count("prefetch", prefetch, 1)
        self.num_workers = check_count("num_workers", num_workers)
        self.timeout = check_seconds("timeout", timeout)
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.transfer = transfer
        self.stats = LoaderStats()
        self._copier = DeviceCopier(device)
        self._feed = Feed(
            dataset=dataset,
            collate_fn=collate_fn,
            columns=getattr(collate_fn, "columns", None),
            fills=fills,
            ragged=transfer == "ragged",
            shares=transfer == "padded" and self.device.type == "cpu" and can_share() and fills_flat(collate_fn),
            num_workers=self.num_workers,
            timeout=self.timeout,
        )
        self._crew = Crew()
        self._delivery: Delivery | None = None

    def __repr__(self) -> str:
        workers = f", num_workers={self.num_workers}" if self.num_workers else ""
        to = f"device={str(self.device)!r}, transfer={self.transfer!r}{workers}"
        return f"StreamLoader({self.dataset!r}, {self.collate_fn!r}, {to})"

    def __reduce__(self) -> tuple[object, ...]:
        """Return what a copy is made of: a dataset of its own, at this one's position, and the arguments."""
        names = ("prefetch", "transfer", "num_workers", "timeout")
        arguments = {name: getattr(self, name) for name in names} | {"device": str(self.device)}
        return _rebuild, (copy.copy(self.dataset), self.collate_fn, arguments)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_A_SAMPLER:  # accelerate's skip_first_batches asks, and would make what it skips
            raise AttributeError(
                f"a StreamLoader has no {name}, and skips no batches: it goes on from load_state_dict(state); "
                "fastcollate.trainers.hugging_face.StreamMixin makes a Trainer of transformers do so"
            )
        raise AttributeError(f"'StreamLoader' object has no attribute {name!r}")

    @property
    def device(self) -> torch.device:
        """Where the batches are delivered."""
        return self._copier.device

    @property
    def epoch(self) -> int:
        """The epoch being delivered, or the next one between two."""
        return self.dataset.epoch if self._delivery is None else self._delivery.run.start.epoch

    def __len__(self) -> int:
        """Return the batches of a whole epoch on this rank."""
        return len(self.dataset)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the current epoch that are left, or of the next one.

        Raises:
            StateError: Another iteration of this loader has begun.
            WorkerError: A worker process died, or sent nothing for too long.
        """
        self._leave()
        exiting = sys.is_finalizing  # when the interpreter ends, modules are gone before generators are
        current = self._begin()
        try:
            while True:
                try:
                    batch = next(current)
                except StopIteration:
                    self._delivery = None
                    current.finish()
                    return
                yield batch
                if current.run.overtaken:
                    self._leave()
                    current = self._begin()
                elif self._delivery is None:
                    return  # closed
                elif self._delivery is not current:
                    raise StateError("another iteration of this loader has begun: use that one")
        finally:
            if not exiting() and self._delivery is current:
                self._leave()

    def state_dict(self) -> dict[str, Any]:
        """Return how much was delivered, as JSON: the same on every rank, valid for any world size."""
        return self.dataset.state_dict() if self._delivery is None else self.dataset.state_of(self._delivery.run)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; an iteration in progress continues from there at once.

        Raises:
            StateError: `state` is no state of this library.
            StateMismatchError: `state` was taken over other data, arguments or seed.
        """
        self.dataset.load_state_dict(state)

    def close(self) -> None:
        """End the thread and the processes, if any. What was not delivered is delivered by the next iteration."""
        self._leave()
        self._crew.close()

    def _leave(self) -> None:
        """End the pass that is under way, and the workers that read for it."""
        if self._delivery is not None:
            current, self._delivery = self._delivery, None
            current.close()

    def _begin(self) -> Delivery:
        self._delivery = Delivery(self._feed, self._crew, self._copier, self.stats, prefetch=self.prefetch)
        return self._delivery

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_collator(collate_fn: Any, *, ragged: bool) -> bool:
    """Whether a collator can write into given memory, which it must to pad on the device."""
    if not callable(collate_fn):
        raise InputError(
            f"collate_fn is {collate_fn!r:.40}: give what makes a batch of rows, such as a PaddingCollator"
        )
    fills = fills_memory(collate_fn)
    if ragged and not fills:
        raise InputError(
            f"transfer='ragged' with a {type(collate_fn).__name__}: only collators that can `stage`, such "
            "as PaddingCollator and PackingCollator, can pad on the device; use transfer='padded'"
        )
    return fills


def _rebuild(
    dataset: PlannedDataset[Any], collate_fn: Callable[[Any], Any], arguments: dict[str, Any]
) -> StreamLoader:
    return StreamLoader(dataset, collate_fn, **arguments)
