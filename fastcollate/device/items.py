"""What a batch is made of: dicts, tuples, lists and tensors, in each other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from fastcollate.errors import InputError

__all__ = ["count_bytes", "map_tensors"]


def map_tensors(item: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`item` with `function` applied to its tensors; a `Batch` keeps its attributes.

    Raises:
        InputError: something that holds tensors (it has a method `to`) in a way that is not known here.
    """
    if isinstance(item, torch.Tensor):
        return function(item)
    if hasattr(item, "map_tensors"):
        return item.map_tensors(function)
    if isinstance(item, Mapping):
        return _like(item, {key: map_tensors(value, function) for key, value in item.items()})
    if callable(getattr(item, "to", None)):
        raise InputError(
            f"a {type(item).__name__} in a batch: dicts, lists, tuples and dataclasses of tensors can be moved; "
            "move this one in the training loop"
        )
    if isinstance(item, (list, tuple)):
        parts = [map_tensors(part, function) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
    return _map_fields(item, function) if is_dataclass(item) and not isinstance(item, type) else item


def _map_fields(item: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    moved = copy.copy(item)
    for part in fields(item):
        object.__setattr__(moved, part.name, map_tensors(getattr(item, part.name), function))
    return moved


def _like(item: Mapping[Any, Any], content: dict[Any, Any]) -> Any:
    """A mapping of the same kind with other values, such as the ones tokenizers return."""
    if type(item) is dict or not isinstance(item, MutableMapping):
        return content
    made = copy.copy(item)
    made.update(content)
    return made


def count_bytes(item: Any) -> int:
    """What the tensors of a batch take, as the cost of keeping it; what is unknown is taken to hold none."""
    if isinstance(item, torch.Tensor):
        return item.numel() * item.element_size()
    if isinstance(item, Mapping):
        return sum(map(count_bytes, item.values()))
    if isinstance(item, (list, tuple)):
        return sum(map(count_bytes, item))
    if is_dataclass(item) and not isinstance(item, type):
        return sum(count_bytes(getattr(item, part.name)) for part in fields(item))
    return 0
