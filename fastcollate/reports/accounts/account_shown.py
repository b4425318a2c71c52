"""How far a `prepare` is: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fastcollate.errors import plural
from fastcollate.pretokenize.account import Account
from fastcollate.reports.text import duration, file_size, rough_count

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["account_line", "account_shown"]

_EVERY = 60.0  # seconds


def account_line(account: Account) -> str:
    """Return what was done by now, how fast, and how long the rest takes; what is not known is left out.

    >>> account_line(Account())
    '0 records, 0 tokens, 0% of 1 core'
    """
    now, speed, left = account.now, account.speed, account.left
    words = [] if left is None else [f"{duration(left)} left"]
    words += [f"{rough_count(now.records)} records", f"{rough_count(now.tokens)} tokens"]
    if speed is not None:
        words.append(f"{file_size(round(speed))}/s")
    if now.rejected:
        words.append(f"{rough_count(now.rejected)} rejected")
    words.append(f"{account.share:.0%} of {plural(account.cores, 'core')}")
    return ", ".join(words)


@contextmanager
def account_shown(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Account]:
    """Give an account to `prepare`, and show on stderr how far it is.

    Args:
        quiet: True shows nothing.
        clock: What counts seconds; `time.monotonic` by default.
    """
    if quiet:
        yield Account(clock=clock)
    elif sys.stderr.isatty():
        with ExitStack() as ends:
            yield Account(_Bar(ends), clock=clock)
    else:
        yield Account(_Lines(clock), clock=clock)


class _Bar:
    """A bar on a terminal, drawn again about ten times a second; it comes with the first piece of work."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        self._bar: tqdm[None] | None = None

    def __call__(self, account: Account, _: int) -> None:
        line = account_line(account)
        if self._bar is None:
            self._bar = self._ends.enter_context(_new_bar(account.all_bytes, line))
        self._bar.set_description_str(line, refresh=False)
        self._bar.update(account.bytes - self._bar.n)


def _new_bar(total: int, line: str) -> tqdm[None]:
    from tqdm import tqdm  # noqa: PLC0415  # only terminals wait for it

    look = "{percentage:3.0f}% |{bar:6}| {desc}" if total else "{desc}"
    return tqdm(
        desc=line,
        total=total or None,
        bar_format=look,
        miniters=0,
        leave=False,
        dynamic_ncols=True,
        file=sys.stderr,
    )


class _Lines:
    """A line a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = clock() + _EVERY

    def __call__(self, account: Account, _: int) -> None:
        if self._clock() < self._due:
            return
        self._due = self._clock() + _EVERY
        share = f"{account.bytes / account.all_bytes:.0%} done, " if account.all_bytes else ""
        print(f"fastcollate: {share}{account_line(account)}", file=sys.stderr, flush=True)
