"""Running the command line as a test does: in this process, with what it printed."""

import io
from contextlib import redirect_stderr, redirect_stdout

from fastcollate.cli.main import main

ALPACA = ("--template", "alpaca", "--encoding", "bytes")

RECORDS = [
    {"instruction": "Say hi.", "output": "Hi."},
    {"instruction": "Add.", "input": "1 2", "output": "3"},
    {"instruction": "Name a fruit.", "output": "Fig."},
]
PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)


class Screen(io.TextIOWrapper):
    def __init__(self, *, is_terminal=False):
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode()


def run(*argv, is_terminal=False):
    """(exit code, stdout, stderr)."""
    with redirect_stdout(Screen(is_terminal=is_terminal)) as out, redirect_stderr(Screen()) as err:
        code = main([str(word) for word in argv])
    return code, out.text(), err.text()


def succeed(*argv, is_terminal=False):
    """Run a verb that must succeed without a word on stderr; its output."""
    code, out, err = run(*argv, is_terminal=is_terminal)
    assert (code, err) == (0, "")
    return out


def fail(*argv):
    """Run a verb that must fail with one line on stderr and nothing on stdout; the line."""
    code, out, err = run(*argv)
    assert (code, out) == (1, "")
    assert err.startswith("fastcollate: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("fastcollate: ").rstrip("\n")
