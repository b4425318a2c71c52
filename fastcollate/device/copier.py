"""Moving batches to a device: one copy for all that come at once, from pinned memory, on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch.utils.data import get_worker_info

from fastcollate.device.items import count_bytes, map_tensors
from fastcollate.device.prefetch import Prefetcher
from fastcollate.device.ring import Ring, Slab
from fastcollate.errors import InputError

__all__ = ["DeviceCopier", "OnDevice", "prefetch_to_device"]

_SLABS = 3  # one being filled, one being copied from, one to spare


class OnDevice(NamedTuple):
    """An `OnDevice` is a batch, or a list of batches, on its way to a device.

    Attributes:
        item: The batch or the list, with its tensors on the device.
        event: What the consumer's stream must wait for; None where the batch is there already.
        bytes: The bytes that went over the bus for the batch.
        copies: The number of copies in which these bytes went.
        lent: Whether some tensors were copied from pinned memory that belongs to somebody else.
    """

    item: Any
    event: torch.cuda.Event | None
    bytes: int
    copies: int
    lent: bool


class DeviceCopier:
    """A `DeviceCopier` copies what a batch is made of (dicts, tuples, lists, tensors) to one device.

    All tensors of a batch are staged side by side in one slab of a ring and travel in one copy. On CUDA the slabs
    are page-locked and the copy goes over a stream of its own; `hand_over` makes the consumer's stream wait for
    it, never the host. To the CPU nothing is copied.

    Args:
        device: Where the tensors go: a torch device, its name, or the number of a CUDA device; None is the CPU.

    Raises:
        InputError: The device does not exist here, or is a CUDA device inside a `DataLoader` worker.
    """

    def __init__(self, device: torch.device | str | int | None) -> None:
        self.device = check_device(device)
        self._stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self.device = self._stream.device  # "cuda" has a number now
        self._ring = Ring(_SLABS, pinned=self._stream is not None)

    @property
    def seconds_on_bus(self) -> float:
        """The seconds that the finished copies took, on the device's clock; 0 where the device has none."""
        return self._ring.seconds_on_bus

    def settle(self) -> None:
        """Wait for all copies, so that `seconds_on_bus` is complete."""
        self._ring.settle()

    def enter_thread(self) -> None:
        """Make the device the calling thread's own: a new thread would take memory on the first one too."""
        if self._stream is not None:
            torch.cuda.set_device(self.device)

    def next_slab(self) -> Slab | None:
        """Return memory to stage a batch in, once it is free; None for the CPU, to which nothing is copied."""
        return None if self.device.type == "cpu" else self._ring.next_slab()

    def copy(self, item: Any, slab: Slab | None = None, build: Callable[[Any], Any] | None = None) -> OnDevice:
        """Return a batch on the device, and do not wait for it.

        Args:
            item: The batch.
            slab: The memory that the batch is staged in, where some of its tensors may lie already; by default the
                next one of the ring.
            build: What makes the batch of the copied `item` on the device; by default `item` is the batch.
        """
        if self.device.type == "cpu":
            return OnDevice(item if build is None else build(item), None, 0, 0, False)
        slab = self._ring.next_slab() if slab is None else slab
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            moved, size, copies, lent = self._move(item, slab)
            built = moved if build is None else build(moved)
            event = None
            if self._stream is not None:
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record(self._stream)
        return OnDevice(built, event, size, copies, lent)

    def hand_over(self, item: Any, event: torch.cuda.Event | None) -> Any:
        """Let the current stream use what `copy` returned, or a part of it, after the event that came with it."""
        if event is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(event)
            map_tensors(item, lambda tensor: _record(tensor, stream))
        return item

    def _move(self, item: Any, slab: Slab) -> tuple[Any, int, int, bool]:
        """`item` with its tensors on the device, the bytes and copies that took, and whether some were lent."""
        staged: dict[int, torch.Tensor] = {}
        alone: dict[int, torch.Tensor] = {}

        def sort(tensor: torch.Tensor) -> torch.Tensor:
            (staged if self._can_stage(tensor, slab) else alone)[id(tensor)] = tensor
            return tensor

        map_tensors(item, sort)
        places = dict(zip(staged, slab.place(staged.values()), strict=True))
        moved = slab.copy_to(self.device) if staged else None

        def arrived(tensor: torch.Tensor) -> torch.Tensor:
            if moved is not None and id(tensor) in places:
                return slab.view(moved, places[id(tensor)], tensor).data  # which can be changed alone
            return tensor.to(self.device, non_blocking=True)

        there = [tensor for tensor in alone.values() if tensor.device != self.device]
        size = (0 if moved is None else moved.nbytes) + sum(tensor.nbytes for tensor in there)
        lent = any(tensor.device.type == "cpu" for tensor in there)
        return map_tensors(item, arrived), size, (moved is not None) + len(there), lent

    def _can_stage(self, tensor: torch.Tensor, slab: Slab) -> bool:
        """Whether a tensor is plain host memory; what somebody else pinned is copied from where it lies."""
        if tensor.layout != torch.strided:
            raise InputError(
                f"a {tensor.layout} tensor in a batch: only dense ones can be copied ahead; "
                "move this one in the training loop"
            )
        if tensor.device.type != "cpu" or tensor.is_quantized:
            return False
        if self._stream is None or tensor.nbytes == 0:
            return True
        return slab.offset_of(tensor) is not None or not tensor.is_pinned()


def check_device(device: torch.device | str | int | None) -> torch.device:
    """Return the torch device of that name, if this machine has it; None is the CPU.

    Raises:
        InputError: The device is unknown to torch or not here, or is a CUDA device inside a `DataLoader` worker.
    """
    try:
        found = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise InputError(f"device {device!r} is unknown to torch: name one such as 'cpu' or 'cuda:0'") from None
    if found.type == "cuda" and get_worker_info() is not None:
        raise InputError(
            f"device {str(found)!r} inside a DataLoader worker: a forked process cannot use CUDA; collate on "
            "the CPU there, and copy in the training process with prefetch_to_device or a StreamLoader"
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {str(found)!r} is not here: torch sees {torch.cuda.device_count()} CUDA device(s); "
            "use another, or device='cpu'"
        )
    try:
        torch.empty(0, device=found)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"device {str(found)!r} is not here: torch cannot make a tensor there ({reason}); use 'cpu'"
        ) from error
    return found


def _record(tensor: torch.Tensor, stream: torch.cuda.Stream) -> torch.Tensor:
    """Keep the allocator from giving the tensor's memory away before `stream` is done with it."""
    tensor.record_stream(stream)
    return tensor


def prefetch_to_device(
    loader: Iterable[Any], device: torch.device | str | int, *, prefetch: int = 2
) -> Iterator[Any]:
    """Yield the batches of any loader on a device; a background thread takes and copies them ahead of use.

    To a CUDA device each batch goes in one copy from page-locked memory, over a stream of its own; tensors that
    somebody else pinned go from where they lie. Batches keep their kind and order; values that are no tensors stay
    as they are. An exception of the loader is raised here, after the batches that came before it. Ending the
    iteration ends the thread.

    Args:
        loader: Any iterable of batches, such as a torch `DataLoader`; a batch is a tensor, or dicts, lists, tuples
            and dataclasses of tensors. The loader is iterated once, in the background thread.
        device: Where the tensors go: a torch device, its name such as `"cuda:0"`, or the number of a CUDA device.
            For the CPU nothing is copied, and the loader still runs ahead.
        prefetch: The number of batches that wait ready at most, 2 by default; small batches wait several at a
            time, up to 2 MB, because to wake a thread costs more than to make one.

    Raises:
        InputError: The device does not exist here, `prefetch` is below 1, or a batch holds what cannot be copied.

    >>> batches = [{"x": torch.tensor([1])}, {"x": torch.tensor([2])}]
    >>> [batch["x"].item() for batch in prefetch_to_device(batches, "cpu")]
    [1, 2]
    """
    copier = DeviceCopier(device)
    copies = _copies(copier, loader)
    return _handed_over(copier, Prefetcher(copies, depth=prefetch, size=lambda copied: count_bytes(copied.item)))


def _copies(copier: DeviceCopier, loader: Iterable[Any]) -> Iterator[OnDevice]:
    copier.enter_thread()
    for item in loader:
        copied = copier.copy(item)
        if copied.lent and copied.event is not None:
            copied.event.synchronize()  # its owner may fill that memory again for the next item
        yield copied


def _handed_over(copier: DeviceCopier, ahead: Prefetcher[OnDevice]) -> Iterator[Any]:
    try:
        for copied in ahead:
            yield copier.hand_over(copied.item, copied.event)
    finally:
        ahead.close(timeout=1.0)  # somebody else's loader may take its time
