"""The framework that a door belongs to: imported when the door is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fastcollate.errors import InputError

__all__ = ["framework"]


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
