"""What a batch is before it is padded: few small arrays that travel instead of it, and how to build it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from fastcollate.collate.batch import Batch
from fastcollate.ragged import Parcel, new_array

__all__ = [
    "Allocator",
    "Build",
    "Built",
    "Collator",
    "Sources",
    "Staged",
    "Wanted",
    "new_arrays",
    "stage_arrays",
    "stage_singly",
]

_VALUES = ("tokens", "labels", "weights")
_INT32 = np.dtype(np.int32)

Wanted = Mapping[str, tuple[tuple[int, ...], DTypeLike]]  # arrays by name: shape and dtype of each
Built = Batch | tuple[torch.Tensor, torch.Tensor]
Sources = dict[str, NDArray[Any] | tuple[NDArray[Any], ...]]


class Allocator(Protocol):
    """Makes the arrays it is asked for: new ones, or in memory that a device copies from."""

    def __call__(self, wanted: Wanted, /) -> dict[str, NDArray[Any]]:
        """Return an array of each shape and dtype, by name; its content is undefined."""
        ...


class Build(Protocol):
    """Makes batches, or tuples, of what travelled."""

    def __call__(self, staged: Mapping[str, torch.Tensor], /) -> Sequence[Built]:
        """Return the batches of the staged arrays as tensors, on whatever device they are."""
        ...


class Staged(NamedTuple):
    """What travels instead of the batches of a parcel. Both parts cross process borders.

    Attributes:
        arrays: The arrays that travel, by name.
        build: Makes the batches, or the tuples, of these arrays as tensors.
    """

    arrays: dict[str, NDArray[Any]]
    build: Build


class Collator(Protocol):
    """Makes the batches of a parcel in given memory, or says what must travel to make them on a device.

    One that also has `fill(parcel, allocate)` is run by worker processes on the CPU, in memory that is shared:
    it returns arrays by name, and a thing that can be pickled whose `batches(arrays)` is the list of batches.
    """

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        ...

    def collate(self, parcel: Parcel, allocate: Allocator, /) -> Sequence[Built]:
        """Return the batches of a parcel, whose tensors lie in arrays from `allocate`."""
        ...

    def stage(self, parcel: Parcel, allocate: Allocator, /) -> Staged:
        """Return the arrays that travel, made by `allocate`, and what builds the batches from them."""
        ...


def new_arrays(wanted: Wanted) -> dict[str, NDArray[Any]]:
    """Return new arrays, with anything in them.

    >>> new_arrays({"tokens": ((2, 3), np.uint16)})["tokens"].shape
    (2, 3)
    """
    return {name: new_array(shape, dtype) for name, (shape, dtype) in wanted.items()}


def stage_arrays(sources: Sources, allocate: Allocator) -> dict[str, NDArray[Any]]:
    """Copy what travels: tokens, labels and weights in their dtype, else int32, several arrays as rows of one."""
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


class _Builds(NamedTuple):
    """Builds batches that were staged one by one: the arrays of batch `i` are named `i.NAME`."""

    builds: list[Build]

    def __call__(self, staged: Mapping[str, torch.Tensor]) -> list[Built]:
        built = list[Built]()
        for number, build in enumerate(self.builds):
            prefix = f"{number}."
            built += build({name.removeprefix(prefix): a for name, a in staged.items() if name.startswith(prefix)})
        return built


def stage_singly(parts: Sequence[Staged], allocate: Allocator) -> Staged:
    """Return what several batches staged as one thing that travels."""
    numbered = enumerate(parts)
    arrays = {f"{number}.{name}": array for number, part in numbered for name, array in part.arrays.items()}
    moved = allocate({name: (array.shape, array.dtype) for name, array in arrays.items()})
    for name, array in arrays.items():
        moved[name][...] = array
    return Staged(moved, _Builds([part.build for part in parts]))
