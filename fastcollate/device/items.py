"""What a batch is made of: dicts, tuples, lists and tensors, in each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["count_elements", "map_tensors"]


def map_tensors(item: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`item` with `function` applied to its tensors; a `Batch` keeps its attributes."""
    if isinstance(item, torch.Tensor):
        return function(item)
    if hasattr(item, "map_tensors"):
        return item.map_tensors(function)
    if isinstance(item, dict):
        return {key: map_tensors(value, function) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(map_tensors(value, function) for value in item))
    if isinstance(item, (list, tuple)):
        return type(item)(map_tensors(value, function) for value in item)
    return item


def count_elements(item: Any) -> int:
    """Tensor elements in a batch, as the cost of keeping it."""
    if isinstance(item, torch.Tensor):
        return item.numel()
    if isinstance(item, dict):
        return sum(map(count_elements, item.values()))
    if isinstance(item, (list, tuple)):
        return sum(map(count_elements, item))
    return 0
