"""The write path: records -> segments -> tokens -> store."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tiktoken

from fastcollate.errors import InputError, WorkerError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.store.manifest import Layout
from fastcollate.store.reader import TokenStore
from fastcollate.store.writer import StoreWriter, check_count
from fastcollate.text.documents import append_end, truncate
from fastcollate.text.encodings import describe, encode_chunk, load_encoding
from fastcollate.text.prompts import PromptTemplate, Segment
from fastcollate.text.records import Chunk, read_chunks

__all__ = ["prepare"]

Overlong = Literal["truncate", "drop", "error"]
OnError = Literal["raise", "skip"]

_CHUNK = 1024  # records encoded at a time
_BEFORE_A_POOL = 64  # chunks encoded here by default: a pool takes seconds to start


def prepare(
    source: str | Path | Iterable[Any],
    output: str | Path,
    *,
    encoding: str | tiktoken.Encoding = "gpt2",
    template: str | PromptTemplate = "alpaca",
    fields: Mapping[str, str] | None = None,
    append_eot: bool = True,
    max_length: int | None = None,
    overlong: Overlong = "truncate",
    layout: Layout = "arrow",
    records_per_shard: int = 262_144,
    workers: int | None = None,
    engine: Literal["local"] = "local",
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
) -> TokenStore:
    """Tokenise records once, into a store at `output`.

    The same source gives the same bytes for any number of workers. If it fails or is interrupted, nothing is
    left behind.

    Args:
        source: a path, glob or URL of JSON arrays or JSON Lines, a list of them, or an iterable of dicts.
        output: the directory to make.
        encoding: a name for `load_encoding`, or a `tiktoken.Encoding`.
        template: a built-in template's name, or a `PromptTemplate`.
        fields: which key of the records each of the template's fields is, where they differ.
        append_eot: end each record with the end-of-text token, which is supervised.
        max_length: the most tokens of a record, and
        overlong: what happens to longer ones: they are cut, dropped (and counted), or an error.
        layout: `"arrow"` or `"npy"`.
        records_per_shard: how many records one shard holds.
        workers: processes; None uses all cores when there is enough to do. Scripts that start processes
            need `if __name__ == "__main__":`.
        engine: where workers run.
        on_error: `"skip"` counts bad records by reason in the manifest instead of raising.
        progress: called with the number of records of each piece of work done.

    Raises:
        InputError: the source, the template or a record is wrong; it is named.
        EncodingError: the encoding is unknown or out of reach.
        StoreWriteError: `output` holds something else.
        WorkerError: a worker process died.

    >>> import tempfile
    >>> records = [{"instruction": "Say hi.", "output": "Hi."}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/store", encoding="bytes")
    >>> len(store), store.spans(0).tolist()
    (1, [[131, 151]])
    """
    _check(engine=engine, overlong=overlong, on_error=on_error, max_length=max_length, workers=workers)
    chosen = template if isinstance(template, PromptTemplate) else PromptTemplate.named(template)
    if fields is not None:
        chosen.field_keys(fields)  # a wrong name is an error at once, not in every record
    loaded = load_encoding(encoding)
    eot = describe(loaded).eot_token_id if append_eot else None
    mapping = None if fields is None else dict(fields)
    recipe = _Recipe(encoding, chosen, mapping, eot, max_length, overlong, skip=on_error == "skip")
    with StoreWriter(output, encoding=loaded, layout=layout, records_per_shard=records_per_shard) as writer:
        writer.template = chosen.name
        chunks = _numbered(read_chunks(source, size=_CHUNK, on_error=on_error))
        for encoded in _encode_all(recipe, chunks, workers):
            writer.append(encoded.tokens, encoded.spans, encoded.source_rows)
            writer.rejected.update(encoded.rejected)
            if progress is not None:
                progress(len(encoded.tokens))
        if len(writer) == 0:
            raise _no_records(writer.rejected)
    return TokenStore(output)


def _no_records(rejected: Counter[str]) -> InputError:
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    return InputError(f"the source holds no usable records ({counted or 'it is empty'})", reason="empty")


def _check(*, engine: str, overlong: str, on_error: str, max_length: int | None, workers: int | None) -> None:
    if engine != "local":
        raise InputError(f"engine is {engine!r}: this version runs workers on this machine; use engine='local'")
    if overlong not in ("truncate", "drop", "error"):
        raise InputError(f"overlong is {overlong!r}: it must be 'truncate', 'drop' or 'error'")
    if on_error not in ("raise", "skip"):
        raise InputError(f"on_error is {on_error!r}: it must be 'raise' or 'skip'")
    for name, value in (("max_length", max_length), ("workers", workers)):
        if value is not None:
            check_count(name, value)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A chunk and the rows of the whole source its records are: int64[N]."""

    chunk: Chunk
    rows: IntArray


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A chunk ready for the store."""

    tokens: Ragged
    spans: Ragged
    source_rows: IntArray
    rejected: Counter[str]


def _numbered(chunks: Iterable[Chunk]) -> Iterator[_Numbered]:
    """Number records through all files: row 0 is the first record, or line, of the first file."""
    path, base, after = None, 0, 0
    for chunk in chunks:
        numbers = np.array(chunk.numbers, np.int64) - (chunk.unit == "line")
        if chunk.path != path or (len(numbers) and base + numbers[0] < after):  # another file, or one again
            path, base = chunk.path, after
        rows = base + numbers
        after = int(rows[-1]) + 1 if len(rows) else after
        yield _Numbered(chunk, rows)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a chunk becomes tokens; it travels to worker processes, so the encoding goes by name."""

    encoding: str | tiktoken.Encoding
    template: PromptTemplate
    fields: dict[str, str] | None
    eot_token_id: int | None
    max_length: int | None
    overlong: Overlong
    skip: bool

    def encode(self, work: _Numbered) -> _Encoded:
        chunk, rejected = work.chunk, Counter(work.chunk.rejected)
        kept, documents = self._segments(chunk, rejected)
        encoded = encode_chunk(load_encoding(self.encoding), documents)
        tokens = Ragged(encoded.values, encoded.offsets)
        spans = Ragged(encoded.span_values, encoded.span_offsets)
        if self.eot_token_id is not None:
            tokens, spans = append_end(tokens, spans, self.eot_token_id)
        usable = self._usable(chunk, kept, tokens.lengths, rejected)
        if len(usable) < len(tokens):
            tokens, spans = tokens.take(usable), spans.take(usable)
        if self.max_length is not None and self.overlong == "truncate":
            tokens, spans = truncate(tokens, spans, self.max_length)
        return _Encoded(tokens, spans, work.rows[np.array(kept, np.int64)[usable]], rejected)

    def _segments(self, chunk: Chunk, rejected: Counter[str]) -> tuple[list[int], list[list[Segment]]]:
        kept: list[int] = []
        documents: list[list[Segment]] = []
        for i, record in enumerate(chunk.records):
            try:
                documents.append(self.template.segments(record, fields=self.fields))
                kept.append(i)
            except InputError as error:
                self._reject(chunk, i, str(error), error.reason, rejected)
        return kept, documents

    def _usable(self, chunk: Chunk, kept: list[int], lengths: IntArray, rejected: Counter[str]) -> IntArray:
        """int64[M]: the records that have tokens, and not too many."""
        good = lengths > 0
        for i in np.flatnonzero(~good).tolist():
            self._reject(chunk, kept[i], "it has no tokens: leave it out, or set append_eot", "empty", rejected)
        if self.max_length is not None and self.overlong != "truncate":
            over = lengths > self.max_length
            for i in np.flatnonzero(over).tolist():
                message = f"it has {lengths[i]} tokens, more than max_length={self.max_length}"
                if self.overlong == "drop":
                    rejected["overlong"] += 1
                else:
                    self._reject(chunk, kept[i], message, "overlong", rejected)
            good &= ~over
        return np.flatnonzero(good)

    def _reject(self, chunk: Chunk, i: int, message: str, reason: str, rejected: Counter[str]) -> None:
        if not self.skip:
            raise InputError(f"{chunk.where(i)}: {message}", path=chunk.path, row=chunk.numbers[i], reason=reason)
        rejected[reason] += 1


def _encode_all(recipe: _Recipe, chunks: Iterator[_Numbered], workers: int | None) -> Iterator[_Encoded]:
    """Encode chunks in order: here, or in a pool of processes; by default there once there is enough to do."""
    if workers is None:
        yield from map(recipe.encode, islice(chunks, _BEFORE_A_POOL))
        workers = _cores()
    first = next(chunks, None)
    if first is None:
        return
    rest = chain([first], chunks)
    yield from map(recipe.encode, rest) if workers == 1 else _encode_in_pool(recipe, rest, workers)


def _cores() -> int:
    """Cores this process may use; not every system can tell them from the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _encode_in_pool(recipe: _Recipe, chunks: Iterator[_Numbered], workers: int) -> Iterator[_Encoded]:
    """Keep every worker busy, and at most two chunks a worker in memory."""
    context = multiprocessing.get_context("spawn")  # forking a process that has threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)
    pending: deque[Future[_Encoded]] = deque()
    try:
        for chunk in chunks:
            with _interrupts_blocked():  # submitting starts workers, which inherit it
                pending.append(pool.submit(recipe.encode, chunk))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process died: it ran out of memory, or the script lacks `if __name__ == '__main__':` around "
            "its main code; set workers=1 to stay in one process"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back for a moment, here and for good in processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the main process, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
