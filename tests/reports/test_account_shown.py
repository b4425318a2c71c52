"""How far a `prepare` is, on a screen and elsewhere."""

from contextlib import redirect_stderr

import pytest
from commands import Screen

from fastcollate.pretokenize.account import Account
from fastcollate.pretokenize.parts.effort import Effort
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Step
from fastcollate.reports.accounts.account_shown import account_line, account_shown
from fastcollate.store.shards.entries import ShardEntry
from fastcollate.store.shards_writer import Written


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def work(account, clock, *, size=60_000_000):
    """100 tasks are begun; one is done in 30 seconds, and half of the next."""
    account.begin([Task(i, (), size, ()) for i in range(100)], {}, 2)
    clock.now += 30
    shard = ShardEntry(500_000, 10_000_000, 0, "", {}, [])
    account.add(Finished(0, "task-00000", [], 500_000, 500_000, Written(True, {}, [shard], []), {}, {}, "", 0))
    account.add(Step(250_000, 5_000_000, 7, Effort(1, "one", 28.5, 0, 0, 0)))
    account.add(Effort(2, "other", 28.5, 0, 0, 0))


@pytest.mark.parametrize(("size", "known"), [(60_000_000, True), (0, False)])
def test_a_line_says_what_is_known(monkeypatch, size, known):
    monkeypatch.setattr("time.process_time", lambda: 0.0)
    clock = Clock()
    account = Account(clock=clock)
    work(account, clock, size=size)
    counted = "750k records, 15.0M tokens, 3.00 MB/s, 7 rejected, 95% of 2 cores"
    left = "32:50 left, "  # 5.91 GB of 6
    assert account_line(account) == (left + counted if known else counted.replace(" 3.00 MB/s,", ""))


def test_where_there_is_no_terminal_there_is_a_line_a_minute(monkeypatch):
    monkeypatch.setattr("time.process_time", lambda: 0.0)
    clock = Clock()
    with redirect_stderr(Screen()) as err, account_shown(quiet=False, clock=clock) as account:
        work(account, clock)
        lines = []
        for _ in range(100):
            clock.now += 2
            account.add(Step(1, 10, 0, Effort(1, "one", 28.5, 0, 0, 0)))
            lines.append(err.text().count("\n"))
    assert [lines.index(count) for count in (1, 2, 3)] == [14, 44, 74]  # at 60, 120 and 180 seconds
    assert lines[-1] == 3
    first = err.text().splitlines()[0]
    assert first == (
        "fastcollate: 2% done, 1:05:40 left, 750k records, 15.0M tokens, 1.50 MB/s, 7 rejected, 48% of 2 cores"
    )


def test_a_clock_that_stands_still_is_no_division_by_zero():
    clock = Clock()
    with redirect_stderr(Screen()) as err, account_shown(quiet=False, clock=clock) as account:
        account.begin([Task(0, (), 10, ())], {}, 1)
        account.add(Step(1, 10, 0, Effort(0, "one", 28.5, 0, 0, 0)))
        assert account_line(account) == "1 records, 10 tokens, 0% of 1 core"
    assert err.text() == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_is_quiet(is_terminal):
    clock = Clock()
    with (
        redirect_stderr(Screen(is_terminal=is_terminal)) as err,
        account_shown(quiet=True, clock=clock) as account,
    ):
        for _ in range(5):
            work(account, clock)
    assert err.text() == ""


def test_a_bar_is_gone_when_the_work_is_over():
    clock = Clock()
    with redirect_stderr(Screen(is_terminal=True)) as err, account_shown(quiet=False, clock=clock) as account:
        assert err.text() == ""
        work(account, clock)
        account.add(Step(1, 10, 0, Effort(1, "one", 28.5, 0, 0, 0)))
        assert "750k records" in err.text()
    assert "\n" not in err.text()
    assert err.text().rpartition("\r")[0].rpartition("\r")[2].strip() == ""
