"""The account of a `prepare`: it adds up, however the work is dealt, and nothing of it gets into a store."""

import json

import pytest
from stores import contents

from fastcollate import InputError, prepare
from fastcollate.pretokenize.account import Account, Count
from fastcollate.pretokenize.parts import tasks
from fastcollate.pretokenize.parts.effort import Effort
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Step
from fastcollate.store.shards.entries import ShardEntry
from fastcollate.store.shards_writer import Written

OPTIONS = {"encoding": "bytes", "template": "prompt_completion", "on_error": "skip", "max_length": 40}


@pytest.fixture
def source(tmp_path):
    """400 records of 32 bytes or more: of each ten one is no record, one is cut, and one has no target."""
    path = tmp_path / "data.jsonl"
    odd = {3: {"prompt": "p"}, 5: {"prompt": "p", "completion": "c" * 60}, 7: {"prompt": "p", "completion": ""}}
    usual = {"prompt": "what?", "completion": "that."}
    path.write_text("".join(json.dumps(odd.get(i % 10, usual)) + "\n" for i in range(400)))
    return path


@pytest.fixture
def many_tasks(monkeypatch):
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 2048)


class Clock:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


def check_sums(account, store):
    assert (account.read, account.written) == (400, Count(len(store), store.num_tokens, 80))
    assert account.rejected == {"missing_field": 40, "empty": 40} == store.manifest.rejected
    assert account.noted["cut"] == 40
    assert account.reading > 0 < account.encoding
    assert account.writing > 0 < account.starting
    assert account.finishing >= 0
    assert account.bytes == account.all_bytes > 0
    assert account.left == 0 < account.speed


@pytest.mark.parametrize("workers", [1, 2])
def test_the_account_adds_up_for_one_task_and_for_many(tmp_path, source, monkeypatch, workers):
    for least in (1 << 23, 2048):
        monkeypatch.setattr(tasks, "_LEAST_BYTES", least)
        account = Account()
        store = prepare(source, tmp_path / str(least), workers=workers, progress=account, **OPTIONS)
        check_sums(account, store)
        assert account.now == account.written
        assert account.cores == workers
        assert 1 + (workers == 2) <= len(account.shares) <= 1 + workers
        assert all(share >= 0 for share in account.shares)


@pytest.mark.usefixtures("many_tasks")
def test_what_is_told_to_a_function_is_told_by_an_account_too(tmp_path, source):
    plain, told = [], []
    prepare(source, tmp_path / "a", workers=1, progress=plain.append, **OPTIONS)
    account = Account(lambda account, records: told.append((records, account.now.records)))
    prepare(source, tmp_path / "b", workers=1, progress=account, **OPTIONS)
    assert [records for records, _ in told] == plain
    assert [now for _, now in told] == [sum(plain[: i + 1]) for i in range(len(plain))]


@pytest.mark.usefixtures("many_tasks")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_goes_on_says_how_much_was_there(tmp_path, source, workers):
    def stop(account, _):
        if account.read >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "s", workers=workers, progress=Account(stop), **OPTIONS)
    account = Account()
    store = prepare(source, tmp_path / "s", workers=workers, progress=account, **OPTIONS)
    check_sums(account, store)
    assert 100 <= account.earlier < 400
    assert account.now.records < account.written.records
    prepare(source, tmp_path / "whole", progress=None, **OPTIONS)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("many_tasks")
def test_no_time_gets_into_the_journal(tmp_path, source):
    """Two runs that are stopped at the same place leave the same bytes, whatever the clock says."""

    def stop(account, _):
        if account.read >= 100:
            raise KeyboardInterrupt

    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            prepare(source, tmp_path / name, workers=1, progress=Account(stop, clock=Clock()), **OPTIONS)
    assert "journal.jsonl" in contents(tmp_path / "a")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_size_of_what_is_given_is_not_known(tmp_path):
    account = Account()
    prepare([{"prompt": "a", "completion": "b"}], tmp_path / "s", progress=account, **OPTIONS)
    assert (account.all_bytes, account.speed, account.left, account.read) == (0, None, None, 1)


def test_an_error_of_tell_is_the_callers_own(tmp_path, source):
    def refuse(_account, _records):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prepare(source, tmp_path / "s", progress=Account(refuse), **OPTIONS)
    assert not (tmp_path / "s").exists()


def test_an_account_without_work_is_all_zero():
    account = Account()
    assert (account.now, account.share, account.shares, account.left) == (Count(), 0, [], None)
    with pytest.raises(InputError):
        prepare([], "nowhere", progress=account, **OPTIONS)
    assert account.read == 0


# By a clock of our own


def finished(number, records):
    shard = ShardEntry(records, 10 * records, 0, "", {}, [])
    return Finished(
        number, f"task-{number:05d}", [], records, records, Written(True, {}, [shard], []), {}, {}, "", 0
    )


def step(task, records, process="other", cpu=0.0):
    return Step(records, 10 * records, 0, Effort(task, process, cpu, 0.5, 1.0, 0.25))


def test_speed_and_what_is_left_follow_from_the_bytes_of_tasks():
    account = Account(clock=Clock())  # 1
    account.begin([Task(i, (), 1000, ()) for i in range(4)], {}, 2)  # 2
    account.add(step(0, 5))  # 3
    assert (account.bytes, account.speed, account.left) == (0, None, None)  # what a record has nobody knows
    account.add(finished(0, 10))  # 4
    assert (account.bytes, account.speed, account.left) == (1000, 500, 6)
    account.add(step(1, 5))  # 5: half of a task as large as the first
    assert (account.bytes, account.speed, account.left) == (1500, 500, 5)
    account.add(step(1, 50))  # 6: never more than there is
    assert (account.bytes, account.speed, account.left) == (2000, 500, 4)
    account.add(finished(1, 10))  # 7
    assert (account.now.records, account.reading, account.encoding, account.writing) == (20, 1.5, 3, 0.75)


def test_what_was_there_counts_for_the_share_and_not_for_the_speed():
    account = Account(clock=Clock())
    account.begin([Task(i, (), 1000, ()) for i in range(4)], {0: finished(0, 10), 1: finished(1, 10)}, 1)
    account.add(step(2, 5))
    assert (account.earlier, account.bytes, account.speed, account.left) == (20, 2500, 500, 3)


def test_the_steps_of_a_task_that_was_begun_twice_count_once():
    account = Account(clock=Clock())
    account.begin([Task(0, (), 1000, ())], {}, 1)
    for _ in range(2):
        account.add(step(0, 10))
    account.add(finished(0, 10))
    assert account.now == Count(10, 100, 0)


def test_each_process_has_a_share_without_what_it_did_before():
    account = Account(clock=Clock())
    account.begin([Task(0, (), 1000, ())], {}, 4)
    account.add(step(0, 1, "young", 0.5))  # after 1 second
    account.add(step(0, 1, "old", 50.0))  # after 2, in which it can have worked for 2
    account.add(step(0, 1, "young", 1.5))
    account.add(step(0, 1, "old", 51.0))  # after 4
    here, young, old = account.shares
    assert (young, old) == (1.5 / 4, 3 / 4)
    assert account.share == (here + young + old) / 4


def test_the_cores_of_a_cluster_are_those_that_work_at_once():
    account = Account(clock=Clock())
    account.begin([Task(i, (), 1000, ()) for i in range(4)], {}, 0)
    for task in (0, 1):
        account.add(step(task, 1))
    account.add(finished(0, 1))
    account.add(step(2, 1))
    assert account.cores == 2
