"""What a batch is before it is padded: few small arrays that travel instead of it, and how to build it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from fastcollate.collate.batch import Batch
from fastcollate.ragged import RaggedBatch

__all__ = ["Allocator", "Built", "Collator", "Sources", "Staged", "cell_arrays", "new_arrays", "stage_arrays"]

_VALUES = ("tokens", "labels")
_INT32 = np.dtype(np.int32)

Wanted = Mapping[str, tuple[tuple[int, ...], DTypeLike]]  # arrays by name: shape and dtype of each
Built = Batch | tuple[torch.Tensor, torch.Tensor]
Sources = dict[str, NDArray[Any] | tuple[NDArray[Any], ...]]


class Allocator(Protocol):
    """Makes the arrays it is asked for: new ones, or in memory that a device copies from."""

    def __call__(self, wanted: Wanted, /) -> dict[str, NDArray[Any]]:
        """Return an array of each shape and dtype, by name; its content is undefined."""
        ...


class Staged(NamedTuple):
    """The `arrays` that travel, and what `build` makes of them on whatever device they are: `Batch` or tuple.

    Both cross process borders: `build` is a partial of a function of a module.
    """

    arrays: dict[str, NDArray[Any]]
    build: Callable[[Mapping[str, torch.Tensor]], Built]


class Collator(Protocol):
    """Makes a batch of rows in given memory, or says what must travel to make it on a device."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        ...

    def collate(self, batch: RaggedBatch, allocate: Allocator, /) -> Built:
        """Return a batch whose tensors lie in arrays from `allocate`."""
        ...

    def stage(self, batch: RaggedBatch, allocate: Allocator, /) -> Staged:
        """Return the arrays that travel, made by `allocate`, and what builds the batch from them."""
        ...


def new_arrays(wanted: Wanted) -> dict[str, NDArray[Any]]:
    """Fresh arrays, one allocation each: a huge one for all would never be reused."""
    return {name: np.empty(shape, dtype) for name, (shape, dtype) in wanted.items()}


def cell_arrays(allocate: Allocator, names: list[str], shape: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
    """An int64 array of `shape` for each name."""
    return allocate(dict.fromkeys(names, (shape, np.int64)))


def stage_arrays(sources: Sources, allocate: Allocator) -> dict[str, NDArray[Any]]:
    """Copy what travels: tokens and labels in their dtype, the rest as int32, several arrays as rows of one."""
    wanted: dict[str, tuple[tuple[int, ...], DTypeLike]] = {}
    for name, source in sources.items():
        if isinstance(source, tuple):
            wanted[name] = (len(source), len(source[0])), _INT32
        else:
            wanted[name] = source.shape, source.dtype if name in _VALUES else _INT32
    arrays = allocate(wanted)
    for name, source in sources.items():
        if isinstance(source, tuple):
            for row, part in zip(arrays[name], source, strict=True):
                row[:] = part
        else:
            arrays[name][...] = source
    return arrays
