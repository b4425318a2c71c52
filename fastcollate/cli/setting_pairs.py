"""Settings as `name=value,...` on a command line."""

from __future__ import annotations

import argparse
from contextlib import suppress

__all__ = ["add_storage_options", "pairs"]


def add_storage_options(parser: argparse.ArgumentParser) -> None:
    """The option of every verb that reads or writes in an object store."""
    settings = "of the object store, such as endpoint_url=... (default: by the environment)"
    parser.add_argument("--storage-options", type=_options, metavar="K=V,...", help=settings)


def pairs(text: str, what: str) -> dict[str, str]:
    """Return `a=b,c=d` as a dict; `what` says what it should be a list of."""
    found = [pair.partition("=") for pair in text.split(",")]
    if not all(name and value for name, _, value in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {what}")
    return {name.strip(): value.strip() for name, _, value in found}


def _options(text: str) -> dict[str, str | float]:
    """`region=eu-central-1,timeout=20` as a dict; what is no number stays text, which the library refuses."""
    options: dict[str, str | float] = {
        **pairs(text, "setting=value pairs, such as region=eu-central-1,timeout=20")
    }
    for name, number in (("timeout", float), ("max_retries", int)):
        with suppress(ValueError, KeyError):
            options[name] = number(options[name])
    return options
