"""The process in which a template is rendered: started where it is first needed, and again after it was ended.

Templates that differ only in which turns are learnt, or in the keys of records, share one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from importlib.util import find_spec
from threading import Lock
from typing import Any

from fastcollate.errors import InputError, LimitError

__all__ = ["Helper"]

# The process is told where modules are, since it looks at no variables of its surroundings.
_PROGRAM = (
    "import json, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "sys.path[:] = json.loads(sys.stdin.readline()); "
    "from fastcollate.templates.jinja.rendering import serve; serve()"
)


_running: weakref.WeakValueDictionary[str, Helper] = weakref.WeakValueDictionary()
"""The helpers of this process that some template has, by what they need to know."""


class Helper:
    """A process that renders one template.

    Args:
        setup: What `rendering.serve` needs to know.

    Raises:
        InputError: Jinja is not installed, or the system cannot limit a process.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        if find_spec("jinja2") is None:
            raise InputError("chat templates in Jinja need the package jinja2: install fastcollate[chat]")
        if sys.platform == "win32":
            raise InputError(
                "chat templates in Jinja need a system that limits a process's time and memory, which Windows "
                "does not: write the format as a .toml file instead"
            )
        self._setup = setup
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    @classmethod
    def of(cls, setup: dict[str, Any]) -> Helper:
        """Return the helper for a template; one that has the same setup is shared.

        Raises:
            InputError: Jinja is not installed, or the system cannot limit a process.
        """
        key = json.dumps(setup, sort_keys=True, default=repr)
        found = _running.get(key)
        if found is None:
            found = _running[key] = cls(setup)
        return found

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the process's reply to a request.

        Raises:
            InputError: The template is broken, or fails on the request; `reason` is "bad_template".
            LimitError: The template takes too much time or memory, or writes too much.
        """
        with self._lock:
            self._start()
            return self._reply(request)

    def _start(self) -> None:
        """Start the process, if it does not run or belongs to the process that this one was forked from."""
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return
        self._owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603  # our own program in our own interpreter
            [sys.executable, "-I", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        weakref.finalize(self, _end, self._process, self._owner)
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100  # "" too is a folder
        self._reply(path, self._setup)

    def _reply(self, *requests: Any) -> dict[str, Any]:
        process = self._process
        line = b""
        if process is not None and process.stdin is not None and process.stdout is not None:
            try:
                process.stdin.write(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:  # it was ended before
                line = b""
        if not line.endswith(b"\n"):
            self._close()
            raise LimitError(
                "the chat template takes longer than a second of processor time, or too much memory, for one "
                "conversation, and was ended"
            )
        reply: dict[str, Any] = json.loads(line)
        if "limit" in reply:
            self._close()
            raise LimitError(f"the chat template was ended: {reply['limit']}")
        if "error" in reply:
            advice = (
                '; give ChatTemplate(..., date="2026-01-31") a day of yours'
                if "strftime_now" in line.decode()
                else ""
            )
            raise InputError(f"the chat template fails: {reply['error']}{advice}", reason="bad_template")
        return reply

    def _close(self) -> None:
        if self._process is not None:
            _end(self._process, self._owner)
        self._process = None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a process of ours; a fork of ours leaves it alone."""
    if owner != os.getpid():
        process.returncode = 0  # it is not this process's to wait for
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    process.wait()
