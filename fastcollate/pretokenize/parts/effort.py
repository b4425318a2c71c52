"""What a piece of work took, told beside what became of it: no time goes into a store, or its journal."""

from __future__ import annotations

import os
import platform
import time
from typing import NamedTuple

from fastcollate.pretokenize.recipe import Encoded

__all__ = ["Effort", "Timed", "this_process"]


class Effort(NamedTuple):
    """The seconds that a piece of a task took.

    Attributes:
        task: The number of the task.
        process: The process that did it.
        cpu: The seconds of a processor that this process has used by then, since it began.
        reading: The seconds of reading.
        encoding: The seconds of encoding.
        writing: The seconds of writing.
    """

    task: int
    process: str
    cpu: float
    reading: float
    encoding: float
    writing: float


class Timed(NamedTuple):
    """A chunk that was encoded, and what that took.

    Attributes:
        made: The chunk.
        process: The process that encoded it.
        cpu: The seconds of a processor that this process has used by then, since it began.
        encoding: The seconds of encoding.
    """

    made: Encoded
    process: str
    cpu: float
    encoding: float

    @classmethod
    def since(cls, begun: float, made: Encoded) -> Timed:
        """Return what is made now, and was begun when `time.perf_counter()` said so."""
        return cls(made, this_process(), time.process_time(), time.perf_counter() - begun)


def this_process() -> str:
    """Return what tells this process from all others that work for it.

    >>> this_process() == this_process()
    True
    """
    return f"{platform.node()} {os.getpid()}"
