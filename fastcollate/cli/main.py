"""The command line: `fastcollate VERB ...`, one file a verb.

Only the verb that is asked for is imported, so that `fastcollate info` does not wait for another verb's imports.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Never

import fastcollate
from fastcollate.errors import FastCollateError
from fastcollate.reports.text import printable

VERBS = {
    "prepare": "tokenise records once, into a store",
    "info": "what a store holds",
    "show": "one record, decoded, with prompt and response told apart",
    "audit": "what a model would learn of a store that was not meant",
    "plan": "a dry run of an epoch: batches, shapes, padding, balance",
    "verify": "hash every byte of a store against its manifest",
    "merge": "several stores as one, without encoding or copying",
    "export": "a store as the files that Megatron or Hugging Face's datasets read",
    "bench": "a store on this machine: ours beside the plain loops",
    "demo": "the whole path on built-in data, beside the plain loop",
}
_EXAMPLE = """\
example:
  fastcollate demo
  fastcollate prepare data.jsonl --output store
  fastcollate show store --record 3

`fastcollate VERB --help` has the options of a verb, and an example.
"""
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended,
_PIPE_CLOSED = 141  # and for one whose reader went away


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, 1 (an error, in one line), 2 (usage), 130 (Ctrl-C).

    >>> main(["info", "/no/such/store"])
    1
    """
    _ready_streams()
    try:
        with _ended_like_ctrl_c():
            code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # here, where a closed pipe can still be handled
    except FastCollateError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return _PIPE_CLOSED
    except OSError as error:  # the library's own are FastCollateErrors: what is left is our printing
        _discard_output()
        why = error.strerror or error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return _fail(f"{why}: let the process open more (ulimit -n)")
        return _fail(f"the output cannot be written ({why})")
    return code


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let what ends a program by default end it as Ctrl-C does: what is finished is kept, and all else tidied."""
    found = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    here = threading.current_thread() is threading.main_thread()
    taken = [number for number in found if here and number and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _run(argv: Sequence[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    module = import_module(f"fastcollate.cli.{verb}") if verb in VERBS else None
    parser = _parser(verb, module)
    try:
        if not argv:
            parser.print_help(sys.stderr)
            return 2
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed help, the version or what is wrong
        return int(stop.code or 0)
    assert module is not None
    return int(module.run(args) or 0)


def _parser(verb: str | None, module: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastcollate",
        description="Pretokenise once, stream padded batches.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        sub = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == verb:
            sub.epilog = module.EXAMPLE
            module.add_arguments(sub)
            sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


class _Version(argparse.Action):
    """Looked up only when asked for: that reads the installed packages' metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> Never:
        print(f"fastcollate {fastcollate.__version__}")
        parser.exit()


def _fail(message: str) -> int:
    try:
        print(f"fastcollate: {printable(' '.join(message.split()))}", file=sys.stderr)
    except OSError:  # nobody reads that either
        _discard_output()
    return 1


def _ready_streams() -> None:
    """Print what a terminal's encoding lacks as an escape, and into nothing where a stream is closed."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  # as long-lived as the program
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let the interpreter's last flush succeed: what is still buffered has nowhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
