from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch.utils.data import DataLoader

from fastcollate.collate.batch import Batch
from fastcollate.collate.packing import PackingCollator
from fastcollate.collate.padding import PaddingCollator
from fastcollate.collate.staged import Allocate, Staged, new_arrays
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.device.items import count_elements
from fastcollate.device.prefetch import Prefetcher
from fastcollate.device.ring import Slab
from fastcollate.errors import InputError, StateError
from fastcollate.ragged_batch import RaggedBatch

__all__ = ["LoaderStats", "StreamLoader"]

_IN_PLACE = (PaddingCollator, PackingCollator)  # not what is derived from them: it may do more when it is called


@dataclass(slots=True)
class LoaderStats:
    """What a loader has delivered so far, and where time went.

    What the background thread does overlaps with the consumer's own work.

    Attributes:
        batches, tokens, cells: real tokens, and the places they were padded to.
        seconds_waited: in which the consumer waited for its next batch.
        seconds_gather, seconds_collate, seconds_transfer: on the host, preparing batches and issuing copies.
        bytes_copied, copies: what went over the bus to a device, and in how many copies.
        seconds_on_bus: what the copies that are over took on the device's clock; 0 where it has none.
    """

    batches: int = 0
    tokens: int = 0
    cells: int = 0
    seconds_waited: float = 0.0
    seconds_gather: float = 0.0
    seconds_collate: float = 0.0
    seconds_transfer: float = 0.0
    bytes_copied: int = 0
    copies: int = 0
    seconds_on_bus: float = 0.0

    @property
    def bytes_per_token(self) -> float:
        """Bytes that went over the bus for each real token; NaN before the first."""
        return self.bytes_copied / self.tokens if self.tokens else float("nan")

    @property
    def padding_fraction(self) -> float:
        """The part of all cells delivered that held no token; NaN where batches do not say (tuples)."""
        return 1.0 - self.tokens / self.cells if self.cells else float("nan")


class StreamLoader:
    """Device-ready batches of a dataset, and an exact count of them.

    For a CUDA device batches are prepared ahead: a background thread gathers, collates and copies them. On the
    CPU they are made when they are asked for: there a thread would share the interpreter with its consumer
    and, measured, cost more than it hides; `num_workers` has processes do the work instead.

    Iterating it delivers the rest of the current epoch and then moves to the next; leaving a loop early and
    iterating again goes on where it stopped. `state_dict` counts the batches that were *delivered*, whatever
    was prepared ahead.

    Args:
        dataset: a `BucketedDataset` or `PackedDataset`.
        collate_fn: makes a batch of a `RaggedBatch`, such as a `PaddingCollator`.
        device: where the tensors go; None is the CPU.
        prefetch: how many batches wait ready on the device (small ones several at a time, up to 2 MB).
        transfer: `"padded"` copies the collated tensors; `"ragged"` copies only the real tokens, in the store's
            own dtype, and pads and masks them on the device: the same batches for a tenth of the bytes.
        num_workers: processes that gather and collate; 0 is nearly always faster.

    Raises:
        InputError: arguments out of range, or a device that does not exist here.

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
    ) -> None:
        if transfer not in ("padded", "ragged"):
            raise InputError(f"transfer is {transfer!r}: it must be 'padded' or 'ragged'")
        if transfer == "ragged" and type(collate_fn) not in _IN_PLACE:
            raise InputError(
                f"transfer='ragged' with a {type(collate_fn).__name__}: only PaddingCollator and PackingCollator "
                "themselves can pad on the device; use transfer='padded'"
            )
        for name, value, low in (("prefetch", prefetch, 1), ("num_workers", num_workers, 0)):
            if not isinstance(value, int) or value < low:
                raise InputError(f"{name} is {value!r}: it must be an integer, at least {low}")
        if not isinstance(dataset, PlannedDataset):
            raise InputError(f"the dataset is a {type(dataset).__name__}: give a BucketedDataset or PackedDataset")
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.prefetch = prefetch
        self.transfer = transfer
        self.num_workers = num_workers
        self.stats = LoaderStats()
        self._copier = DeviceCopier(device)
        self._pass: _Pass | None = None

    @property
    def device(self) -> torch.device:
        """Where the batches are delivered."""
        return self._copier.device

    @property
    def epoch(self) -> int:
        """The epoch being delivered, or the next one between two."""
        return self.dataset.epoch if self._pass is None else self._pass.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self.dataset)

    def __iter__(self) -> Iterator[Any]:
        self.close()
        exiting = sys.is_finalizing  # when the interpreter ends, modules are gone before generators are
        current: _Pass | None = _Pass(self)
        self._pass = current
        try:
            while current is not None:
                try:
                    batch = next(current)
                except StopIteration:
                    self.close()
                    self.dataset.set_epoch(current.epoch + 1)
                    return
                yield batch
                current = self._continued(current)
        finally:
            if not exiting() and self._pass is current:
                self.close()

    def _continued(self, current: _Pass) -> _Pass | None:
        """The pass that goes on after `current` was delivered from: another one if a state was loaded."""
        if self._pass is current:
            return current
        if self._pass is not None:
            raise StateError("another iteration of this loader has begun: use that one")
        if current.reloaded:
            self._pass = _Pass(self)
        return self._pass

    def state_dict(self) -> dict[str, Any]:
        """The batches delivered so far, as JSON: the same on every rank, valid for any world size."""
        return self.dataset.state_dict() if self._pass is None else self._pass.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; an iteration in progress continues from there at once.

        Raises:
            StateError: not a state of this library.
            StateMismatchError: taken over other data, arguments or seed.
        """
        self.dataset.check_state_dict(state)
        if self._pass is not None:
            self._pass.reloaded = True
            self.close()
        self.dataset.load_state_dict(state)
        self.dataset.skip_finished_epoch()

    def close(self) -> None:
        """End the thread and the processes, if any. What was not delivered is delivered by the next iteration."""
        if self._pass is not None:
            current, self._pass = self._pass, None
            current.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pass(Iterator[Any]):
    """The rest of one epoch, counted batch by batch as it is delivered."""

    def __init__(self, loader: StreamLoader) -> None:
        self.reloaded = False
        self._dataset = loader.dataset
        self._copier = loader._copier  # noqa: SLF001
        self._stats = loader.stats
        self._start = loader.dataset.position
        self._delivered = 0
        self.epoch = self._start.epoch
        made = _collated(loader, self._stats) if loader.num_workers == 0 else _from_workers(loader)
        sent = _sent(made, self._copier, self._stats)
        self._source: Generator[OnDevice, None, None] | Prefetcher[OnDevice] = sent
        if loader.device.type != "cpu":
            self._source = Prefetcher(sent, depth=loader.prefetch, size=lambda copied: count_elements(copied.item))

    def __next__(self) -> Any:
        stats = self._stats
        begun = time.perf_counter()
        copied = next(self._source)
        stats.seconds_waited += time.perf_counter() - begun
        item = self._copier.hand_over(copied)
        self._delivered += 1
        stats.batches += 1
        stats.bytes_copied += copied.bytes
        stats.copies += copied.copies
        stats.seconds_on_bus = self._copier.seconds_on_bus
        if isinstance(item, Batch):
            stats.tokens += item.num_tokens
            stats.cells += item["input_ids"].numel()
        return item

    def state_dict(self) -> dict[str, Any]:
        return self._dataset.state_after(self._start, self._delivered)

    def close(self) -> None:
        """End the source, and leave the dataset where the deliveries ended."""
        self._source.close()
        self._dataset.load_state_dict(self.state_dict())


def _collated(loader: StreamLoader, stats: LoaderStats) -> Generator[tuple[Any, Slab | None], None, None]:
    """Batches, padded or staged, and the slab of the device's ring they were made in."""
    batches, copier = iter(loader.dataset), loader._copier  # noqa: SLF001
    make = _maker(loader)
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        gathered = time.perf_counter()
        slab = None if loader.device.type == "cpu" else copier.next_slab()
        ready = time.perf_counter()
        collated = make(batch, new_arrays if slab is None else slab.allocate)
        stats.seconds_gather += gathered - begun
        stats.seconds_transfer += ready - gathered
        stats.seconds_collate += time.perf_counter() - ready
        yield collated, slab


def _maker(loader: StreamLoader) -> Callable[[RaggedBatch, Allocate], Any]:
    """Makes a batch in the memory it is given, where the collator can."""
    collate: Any = loader.collate_fn
    if loader.transfer == "ragged":
        return collate.stage  # type: ignore[no-any-return]
    if type(collate) in _IN_PLACE:
        return collate.collate  # type: ignore[no-any-return]
    return lambda batch, _: collate(batch)


def _from_workers(loader: StreamLoader) -> Generator[tuple[Any, None], None, None]:
    """A generator, so that closing it ends the worker processes."""
    collate: Any = loader.collate_fn
    make = partial(collate.stage, allocate=new_arrays) if loader.transfer == "ragged" else collate
    made = DataLoader(loader.dataset, batch_size=None, collate_fn=make, num_workers=loader.num_workers)
    yield from ((item, None) for item in made)


def _sent(
    made: Generator[tuple[Any, Slab | None], None, None], copier: DeviceCopier, stats: LoaderStats
) -> Generator[OnDevice, None, None]:
    """What was made, on its way to the device; what was staged is built there."""
    for item, slab in made:
        begun = time.perf_counter()
        if isinstance(item, Staged):
            arrays = {name: torch.from_numpy(array) for name, array in item.arrays.items()}
            copied = copier.copy(arrays, slab, item.build)
        else:
            copied = copier.copy(item, slab)
        stats.seconds_transfer += time.perf_counter() - begun
        yield copied
