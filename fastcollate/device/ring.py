"""Host memory that batches are staged in: allocated once, page-locked for CUDA, reused when its copy is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

__all__ = ["Ring", "Slab"]

Wanted = Mapping[str, tuple[tuple[int, ...], DTypeLike]]  # arrays by name: shape and dtype of each

_ALIGNED = 16  # bytes, of each array; in it the batches of a parcel lie side by side


class Slab:
    """One staging buffer, `uint8[capacity]`, that grows when a larger batch comes and never shrinks.

    >>> slab = Slab(pinned=False)
    >>> arrays = slab.allocate({"a": ((2, 3), np.int64), "b": ((5,), np.uint16)})
    >>> arrays["a"].shape, arrays["b"].dtype, slab.used
    ((2, 3), dtype('uint16'), 64)
    """

    def __init__(self, *, pinned: bool) -> None:
        self.used = 0
        self._pinned = pinned
        self._memory = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._bytes = self._memory.numpy().data
        self._copied: tuple[torch.cuda.Event, torch.cuda.Event] | None = None

    def allocate(self, wanted: Wanted) -> dict[str, NDArray[Any]]:
        """Arrays of these shapes and dtypes inside the buffer, whose content is undefined."""
        begin, memory, arrays = self.used, self._bytes, {}
        for name, (shape, dtype) in wanted.items():
            kind = np.dtype(dtype)
            at = self._claim(prod(shape, start=kind.itemsize))
            if self.used <= memory.nbytes:
                arrays[name] = np.ndarray(shape, kind, memory, at)
        if len(arrays) == len(wanted):
            return arrays
        self._reserve()
        self.used = begin
        return self.allocate(wanted)

    def place(self, tensors: Iterable[torch.Tensor]) -> list[int]:
        """Where each tensor lies in the buffer, in bytes; those that do not yet are copied into it."""
        held, known = list(tensors), self.used
        offsets = [self.offset_of(tensor) for tensor in held]
        places = [self._claim(t.nbytes) if at is None else at for t, at in zip(held, offsets, strict=True)]
        if self.used > self._bytes.nbytes:  # all must move to a larger buffer; `held` keeps the old one alive
            self.used = 0
            places, offsets = [self._claim(tensor.nbytes) for tensor in held], [None] * len(held)
            self._reserve()
        elif self.used == known:
            return places
        for tensor, at, before in zip(held, places, offsets, strict=True):
            if before is None:
                self.view(self._memory, at, tensor).copy_(tensor.detach())
        return places

    def offset_of(self, tensor: torch.Tensor) -> int | None:
        """Where in the buffer a tensor lies, in bytes; None if it does not."""
        at = tensor.data_ptr() - self._memory.data_ptr()
        inside = at >= 0 and at + tensor.nbytes <= self.used and tensor.nbytes and tensor.is_contiguous()
        return at if inside else None

    @staticmethod
    def view(memory: torch.Tensor, at: int, like: torch.Tensor) -> torch.Tensor:
        """The bytes of `memory: uint8[...]` from `at` on as a tensor of the dtype and shape of another."""
        return memory[at : at + like.nbytes].view(like.dtype).view(like.shape)

    def copy_to(self, device: torch.device) -> torch.Tensor:
        """What is used of the buffer, on a device: one copy, on CUDA not waited for; uint8[used]."""
        moved = torch.empty(self.used, dtype=torch.uint8, device=device)
        if device.type != "cuda":
            return moved.copy_(self._memory[: self.used])
        begun, over = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        staged = self._memory[: self.used]
        begun.record()
        moved.copy_(staged, non_blocking=True)
        over.record()
        self._copied = begun, over
        return moved

    def reuse(self) -> float:
        """Begin anew once the last copy is over; how many seconds that copy took on the device's clock."""
        self.used = 0
        if self._copied is None:
            return 0.0
        begun, over = self._copied
        over.synchronize()
        self._copied = None
        return float(begun.elapsed_time(over)) / 1e3

    def _claim(self, size: int) -> int:
        at = self.used
        self.used = at + size + -size % _ALIGNED
        return at

    def _reserve(self) -> None:
        if self.used > self._bytes.nbytes:
            size = 1 << (self.used - 1).bit_length()  # what torch would take from the system for it anyway
            self._memory = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
            self._bytes = self._memory.numpy().data


class Ring:
    """A few slabs, used in turn: one is filled while others are copied from."""

    def __init__(self, slabs: int, *, pinned: bool) -> None:
        self._slabs = [Slab(pinned=pinned) for _ in range(slabs)]
        self._turn = cycle(self._slabs)
        self.seconds_on_bus = 0.0

    def next_slab(self) -> Slab:
        """The slab used longest ago, empty; waits until what was copied from it has left."""
        slab = next(self._turn)
        self.seconds_on_bus += slab.reuse()
        return slab

    def settle(self) -> None:
        """Wait for all copies."""
        self.seconds_on_bus += sum(slab.reuse() for slab in self._slabs)
