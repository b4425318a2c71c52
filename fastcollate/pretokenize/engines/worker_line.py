"""A worker process, and the line to it."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from fastcollate.errors import WorkerError
from fastcollate.pretokenize.engines.worker import STAY

__all__ = ["WorkerLine"]

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fastcollate.pretokenize.engines.worker import serve; serve(int(sys.argv[2]))"
)


class WorkerLine:
    """A process that runs `worker.serve`, and the line to it.

    Args:
        timeout: The seconds that it may give no sign while it has something to do.

    Attributes:
        connection: The line, to be waited for.
        tasks: The numbers of the tasks it was sent that are not over.
        is_ready: Whether it has loaded the work.
    """

    def __init__(self, timeout: int) -> None:
        self.tasks: deque[int] = deque()
        self.is_ready = False
        self._timeout = timeout
        self._heard = time.monotonic()
        ours, theirs = socket.socketpair()
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", timeout, 0))
        self.connection = Connection(ours.detach())
        with theirs:
            command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno())]
            try:
                # A session of its own: Ctrl-C on a terminal reaches this process alone, which ends the worker.
                self._process = subprocess.Popen(  # noqa: S603  # the command is ours
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                self.connection.close()
                raise WorkerError(f"a worker process cannot be started ({error.strerror}); {STAY}") from error

    @property
    def patience(self) -> float:
        """The seconds that it may still give no sign."""
        return max(self._heard + self._timeout - time.monotonic(), 0)

    def check_patience(self) -> None:
        """Raise if the process was silent for too long.

        Raises:
            WorkerError: It was.
        """
        if not self.patience:
            raise self._stuck()

    def send(self, value: Any, what: str) -> None:
        """Send the work, which comes first, or a task; `what` names it in an error.

        Raises:
            WorkerError: It cannot be sent, or the worker died or is stuck.
        """
        try:
            message = ForkingPickler.dumps(value)
        except Exception as error:  # whatever the objects in it raise
            raise WorkerError(f"{what} cannot be sent to a worker process ({error}); {STAY}") from error
        if not self.tasks:
            self._heard = time.monotonic()
        try:
            self.connection.send_bytes(message)
        except OSError as error:
            raise self._failure(error) from None

    def receive(self) -> tuple[int, Any]:
        """Return the next message: what it is, and what it holds.

        Raises:
            WorkerError: The worker died, or stopped amid a message.
        """
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError) as failure:
            raise self._failure(failure) from None
        self._heard = time.monotonic()
        self.is_ready = True
        return kind, value

    def end(self) -> None:
        """End the process at once, whatever it does; it holds nothing that is worth a goodbye."""
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _failure(self, error: Exception) -> WorkerError:
        if isinstance(error, BlockingIOError):
            return self._stuck()
        return WorkerError(f"a worker process died: it ran out of memory, or was killed; {STAY}")

    def _stuck(self) -> WorkerError:
        return WorkerError(
            f"worker process {self._process.pid} has not answered for {self._timeout} seconds: it is stopped "
            f"or stuck, or its records are very long; raise timeout=, or {STAY}"
        )
