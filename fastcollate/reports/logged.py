"""What the library says to its logger, as lines of a command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fastcollate.reports.text import printable

__all__ = ["logged"]


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        word = "warning: " if record.levelno >= logging.WARNING else ""
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a bar may stand there, which comes again below
        print(f"{clear}fastcollate: {word}{printable(record.getMessage())}", file=sys.stderr)


@contextmanager
def logged(*, warnings_only: bool) -> Iterator[None]:
    """Print what is said meanwhile to stderr."""
    log, handler = logging.getLogger("fastcollate"), _Lines()
    level, passes_on = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.WARNING if warnings_only else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = passes_on
