"""What doors share: their framework, imported when the door is used, and the comparison of ranks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch.distributed

from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import InputError

__all__ = ["compare_ranks", "framework"]


def framework(name: str) -> Any:
    """Return the module of a framework, such as `"accelerate"`.

    Args:
        name: The name that the module is imported by; its first part is the name of the package.

    Raises:
        InputError: The package is not installed.

    >>> framework("torch.utils.data").__name__
    'torch.utils.data'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise  # the package is here, and lacks something of its own
        raise InputError(
            f"this door needs the package {package}, which is not here: pip install 'fastcollate[trainers]'"
        ) from error


def compare_ranks(dataset: PlannedDataset[Any]) -> None:
    """Compare a dataset over all processes, if there are several; each of them must call it.

    Raises:
        StateMismatchError: A process has another plan, position or corpus, or a rank is nobody's.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        dataset.check_ranks()
