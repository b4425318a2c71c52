from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import torch

from fastcollate.collate.batch import Batch
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.device.copier import DeviceCopier, OnDevice
from fastcollate.device.items import count_bytes
from fastcollate.device.prefetch import Prefetcher
from fastcollate.errors import InputError, StateError
from fastcollate.loader.feeds import can_stage, send_batches
from fastcollate.loader.stats import LoaderStats

__all__ = ["StreamLoader"]


class StreamLoader:
    """Device-ready batches of a dataset, and an exact count of them.

    For a CUDA device batches are prepared ahead: a background thread gathers, collates and copies them. On the
    CPU they are made when they are asked for: there a thread would share the interpreter with its consumer
    and, measured, cost more than it hides.

    Iterating it delivers the rest of the current epoch and then moves to the next; leaving a loop early and
    iterating again goes on where it stopped. `state_dict` counts the batches that were *delivered*, whatever
    was prepared ahead. CUDA graphs are captured beside it with `capture_error_mode="thread_local"`, for its thread
    goes on allocating.

    Args:
        dataset: a `BucketedDataset` or `PackedDataset`.
        collate_fn: makes a batch of a `RaggedBatch`, such as a `PaddingCollator`.
        device: where the tensors go; None is the CPU.
        prefetch: how many batches wait ready on the device (small ones several at a time, up to 2 MB).
        transfer: `"padded"` copies the collated tensors; `"ragged"` copies only the real tokens, in the store's
            own dtype, and pads and masks them on the device: the same batches for a tenth of the bytes.
        num_workers: processes that read the records (and run `collate_fn`, if it is not one of ours); 0 is nearly
            always faster. With them, and with `max_tokens` or packs, a state costs a pass over the lengths up to
            there.

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
        if transfer == "ragged" and not can_stage(collate_fn):
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
                    self._pass = None
                    current.finish()
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
        self._source: Generator[OnDevice, None, None] | Prefetcher[OnDevice]
        self._source = sent = send_batches(
            loader.dataset,
            loader.collate_fn,
            ragged=loader.transfer == "ragged",
            num_workers=loader.num_workers,
            copier=self._copier,
            stats=self._stats,
        )
        if loader.device.type != "cpu":
            self._source = Prefetcher(sent, depth=loader.prefetch, size=lambda copied: count_bytes(copied.item))

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

    def finish(self) -> None:
        """After the last batch: end the source, and complete the statistics."""
        self._source.close()
        self._copier.settle()
        self._stats.seconds_on_bus = self._copier.seconds_on_bus

    def close(self) -> None:
        """End the source, and leave the dataset where the deliveries ended.

        Waits for the batch that is being made: the next pass uses the same memory.
        """
        self._source.close()
        self._dataset.load_state_dict(self.state_dict())
