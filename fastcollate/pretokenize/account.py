"""What a `prepare` has done by now, how fast, and what it took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastcollate.pretokenize.parts.effort import Effort, this_process
from fastcollate.pretokenize.parts.tasks import Task
from fastcollate.pretokenize.parts.writing import Finished, Step

__all__ = ["Account", "Count"]


@dataclass
class Count:
    """How many records were kept, of how many tokens, and how many were left out."""

    records: int = 0
    tokens: int = 0
    rejected: int = 0

    def add(self, more: Step | Count) -> None:
        """Add what was counted apart."""
        self.records += more.records
        self.tokens += more.tokens
        self.rejected += more.rejected

    @property
    def seen(self) -> int:
        """All records, kept or not."""
        return self.records + self.rejected

    @classmethod
    def of(cls, entry: Finished) -> Count:
        """Return what a task came to."""
        shards = entry.written.shards
        return cls(
            sum(shard.records for shard in shards),
            sum(shard.tokens for shard in shards),
            sum(entry.rejected.values()),
        )


class Account:
    """What a `prepare` has done by now, how fast, and what it took: `prepare(..., progress=Account())`.

    Bytes are about those of the sources, uncompressed; within a task they are estimated by what the records of
    others have.

    Args:
        tell: A function that is called with this account and the number of records of each piece of work done;
            none by default.
        clock: What counts seconds; `time.monotonic` by default.

    Attributes:
        cores: How many processes may work at once; of a cluster, how many have worked at once by now.
        all_bytes: How many bytes there are; 0 if nobody knows.
        earlier: The records that an earlier call has read, whose tasks were finished then.
        read: The records that were read of tasks that are finished, with those of earlier calls.
        written: What became of them.
        rejected: How many of them were left out, by reason.
        noted: How many of those kept are told of, by what is told of them.
        starting: The seconds until the first task could begin.
        reading: The seconds of reading, of all processes together.
        encoding: The seconds of encoding, of all processes together.
        writing: The seconds of writing, of all processes together.
        finishing: The seconds from the end of the last task until the store was whole.
        seconds: The seconds that went by between these two.

    >>> import tempfile
    >>> from fastcollate import prepare
    >>> account = Account(lambda account, records: print(records, "of", account.now.seen))
    >>> records = [{"text": "a"}, {"text": "b"}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/s", encoding="bytes", template="text", progress=account)
    2 of 2
    >>> account.read, account.written
    (2, Count(records=2, tokens=4, rejected=0))
    """

    def __init__(
        self,
        tell: Callable[[Account, int], object] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cores, self._knows_cores = 1, False
        self.all_bytes = 0
        self.earlier = self.read = 0
        self.written = Count()
        self.rejected, self.noted = Counter[str](), Counter[str]()
        self.starting = self.reading = self.encoding = self.writing = self.finishing = self.seconds = 0.0
        self._tell = tell
        self._clock = clock
        self._begun = clock()
        self._tasks: Sequence[Task] = ()
        self._finished = Count()  # by this call
        self._bytes = self._earlier_bytes = 0
        self._open: dict[int, Count] = {}
        self._here = this_process()
        self._used: dict[str, tuple[float, float]] = {}  # by process: what it had used before, and has now

    @classmethod
    def of(cls, progress: Callable[[int], object] | Account | None) -> Account:
        """Return the account that tells what the caller of `prepare` asked for."""
        if isinstance(progress, Account):
            return progress
        return cls() if progress is None else cls(lambda _, records: progress(records))

    def begin(self, tasks: Sequence[Task], finished: Mapping[int, Finished], cores: int) -> None:
        """Begin to count.

        Args:
            tasks: All tasks.
            finished: What an earlier call has made of some, by their numbers.
            cores: How many processes may work at once; 0 where nobody knows.
        """
        self._tasks = tasks
        self.cores, self._knows_cores = max(cores, 1), cores > 0
        made, self._begun = self._begun, self._clock()
        self.starting = self._begun - made
        self._used[self._here] = (time.process_time(),) * 2
        sizes = [task.bytes for task in tasks]
        self.all_bytes = sum(sizes) if all(sizes) else 0
        for entry in finished.values():
            self._close(entry)
            self.earlier += entry.read
            self._earlier_bytes += tasks[entry.number].bytes

    def add(self, item: Step | Effort | Finished) -> None:
        """Count what was done, or what it took."""
        self.seconds = self._clock() - self._begun
        self._used[self._here] = self._used[self._here][0], time.process_time()
        if isinstance(item, Finished):
            self._close(item)
            self._finished.add(Count.of(item))
            self._bytes += self._tasks[item.number].bytes
            self._open.pop(item.number, None)
            return
        effort = item.effort if isinstance(item, Step) else item
        self._take(effort)
        if isinstance(item, Step):
            self._open.setdefault(effort.task, Count()).add(item)
            if not self._knows_cores:
                self.cores = max(self.cores, len(self._open))
            if self._tell is not None:
                self._tell(self, item.records)

    def end(self) -> None:
        """End, once the store is whole."""
        self.finishing = self._clock() - self._begun - self.seconds

    def _close(self, entry: Finished) -> None:
        self.read += entry.read
        self.written.add(Count.of(entry))
        self.rejected.update(entry.rejected)
        self.noted.update(entry.noted)

    def _take(self, effort: Effort) -> None:
        self.reading += effort.reading
        self.encoding += effort.encoding
        self.writing += effort.writing
        # What a process has used that is older than this call, it has used for another.
        before, _ = self._used.get(effort.process, (max(effort.cpu - self.seconds, 0.0), 0.0))
        self._used[effort.process] = before, effort.cpu

    @property
    def now(self) -> Count:
        """What this call has done by now, also of tasks that are not finished."""
        now = Count()
        for count in (self._finished, *self._open.values()):
            now.add(count)
        return now

    @property
    def shares(self) -> list[float]:
        """The share of the time for which each process kept a core busy; this process comes first."""
        used = [now - before for before, now in self._used.values()]
        return [seconds / self.seconds if self.seconds else 0.0 for seconds in used]

    @property
    def share(self) -> float:
        """The share of the time for which each core was busy, on average."""
        return sum(self.shares) / self.cores

    @property
    def bytes(self) -> int:
        """How many bytes are done, with those of earlier calls."""
        return self._earlier_bytes + self._bytes + self._open_bytes

    @property
    def _open_bytes(self) -> int:
        done = self._bytes + self._earlier_bytes
        each = done / max(self.written.seen, 1)
        return int(sum(min(count.seen * each, self._tasks[task].bytes) for task, count in self._open.items()))

    @property
    def speed(self) -> float | None:
        """How many bytes a second were done; None until that is known."""
        done = self._bytes + self._open_bytes
        return done / self.seconds if done and self.seconds and self.all_bytes else None

    @property
    def left(self) -> float | None:
        """How many seconds are left at this speed; None until that is known."""
        speed = self.speed
        return None if speed is None else (self.all_bytes - self.bytes) / speed
