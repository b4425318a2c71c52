"""The checks of public arguments: one behaviour for every one of them.

NumPy's integers and booleans are taken as Python's; a boolean is no integer, and 1 is no boolean.
"""

from __future__ import annotations

from collections.abc import Collection
from numbers import Real
from operator import index
from typing import Any, TypeVar

import numpy as np

from fastcollate.errors import FastCollateError, InputError

__all__ = [
    "check_choice",
    "check_choices",
    "check_count",
    "check_counts",
    "check_flag",
    "check_flags",
    "check_seconds",
]

_MOST = 2**63 - 1

Choice = TypeVar("Choice", bound=str)


def check_count(
    name: str,
    value: Any,
    least: int | None = 0,
    *,
    most: int = _MOST,
    error: type[FastCollateError] = InputError,
) -> int:
    """Return an integer argument as a Python int.

    Args:
        name: The argument's name, which begins the message.
        value: What the caller gave.
        least: The smallest value allowed, 0 by default; None allows any 64-bit integer.
        most: The largest value allowed; 2**63 - 1 by default.
        error: The class that is raised.

    Raises:
        FastCollateError: `error`, if `value` is no integer, is a boolean or is out of range.

    >>> check_count("batch_size", np.int64(8), 1)
    8
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    lowest = -_MOST - 1 if least is None else least
    if number is None or isinstance(value, bool) or not lowest <= number <= most:
        rule = f"at least {lowest}" if most == _MOST else f"from {lowest} to {most}"
        rule = "of at most 64 bits" if least is None and most == _MOST else rule
        raise error(f"{name} is {value!r}: it must be an integer, {rule}")
    return number


def check_choice(
    name: str, value: Choice, choices: Collection[str], *, error: type[FastCollateError] = InputError
) -> Choice:
    """Return an argument that is one of a few words.

    Raises:
        FastCollateError: `error`, if `value` is none of `choices`.

    >>> check_choice("layout", "arrow", ("arrow", "npy"))
    'arrow'
    """
    if not isinstance(value, str) or value not in choices:
        listed = [repr(choice) for choice in choices]
        raise error(f"{name} is {value!r}: it must be {', '.join(listed[:-1])} or {listed[-1]}")
    return value


def check_flag(name: str, value: Any, *, error: type[FastCollateError] = InputError) -> bool:
    """Return an argument that is True or False.

    Raises:
        FastCollateError: `error`, if `value` is anything else, such as 1 or "no".

    >>> check_flag("shuffle", np.bool_(True))
    True
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} is {value!r}: it must be True or False")
    return bool(value)


def check_choices(*, error: type[FastCollateError] = InputError, **arguments: tuple[str, Collection[str]]) -> None:
    """Check several arguments that are one of a few words each, by name: the value and its choices.

    Raises:
        FastCollateError: `error`, if a value is none of its choices.

    >>> check_choices(layout=("arrow", ("arrow", "npy")))
    """
    for name, (value, choices) in arguments.items():
        check_choice(name, value, choices, error=error)


def check_counts(*, error: type[FastCollateError] = InputError, **arguments: tuple[Any, int | None]) -> list[int]:
    """Return several integer arguments, given by name as the value and the smallest one allowed, in their order.

    Raises:
        FastCollateError: `error`, if one of them is no integer or too small.

    >>> check_counts(length=(np.int64(8), 1), seed=(-3, None))
    [8, -3]
    """
    return [check_count(name, value, least, error=error) for name, (value, least) in arguments.items()]


def check_flags(*, error: type[FastCollateError] = InputError, **arguments: Any) -> list[bool]:
    """Return several arguments that are True or False, in the order given.

    Raises:
        FastCollateError: `error`, if one of them is anything else.

    >>> check_flags(shuffle=True, drop_last=np.bool_(False))
    [True, False]
    """
    return [check_flag(name, value, error=error) for name, value in arguments.items()]


def check_seconds(name: str, value: Any, *, error: type[FastCollateError] = InputError) -> float:
    """Return an argument that is a time, above 0.

    Raises:
        FastCollateError: `error`, if `value` is no number, not above 0, or endless.

    >>> check_seconds("timeout", 600)
    600.0
    """
    if isinstance(value, bool | np.bool_) or not (isinstance(value, Real) and 0 < float(value) < float("inf")):
        raise error(f"{name} is {value!r}: it must be a number of seconds, above 0")
    return float(value)
