"""The write path: records -> segments -> tokens -> store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from fastcollate.arguments import check_choices, check_count, check_counts, check_flag
from fastcollate.errors import InputError
from fastcollate.pretokenize.engines import Engine, Processes, ThisProcess
from fastcollate.pretokenize.recipe import Encoded, OnError, Overlong, Recipe
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.entries import Layout
from fastcollate.store.writer import StoreWriter
from fastcollate.templates.chat import ChatFormat
from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Template
from fastcollate.templates.shapes import PreferenceTemplate
from fastcollate.tokenizers.load import AnyEncoding, load_encoding

__all__ = ["prepare"]

_BEFORE_WORKERS = 64  # chunks encoded here by default: workers take half a second to start


def prepare(
    source: str | Path | Iterable[Any],
    output: str | Path,
    *,
    encoding: AnyEncoding = "gpt2",
    template: str | Template = "alpaca",
    fields: Mapping[str, str] | None = None,
    append_eot: bool = True,
    max_length: int | None = None,
    overlong: Overlong = "truncate",
    layout: Layout = "arrow",
    records_per_shard: int = 262_144,
    workers: int | None = None,
    engine: Literal["local"] = "local",
    timeout: int = 600,
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
) -> TokenStore:
    """`prepare` tokenises records once, into a store at `output`, and returns the store.

    The same source gives the same bytes for any number of workers. A call that fails or is interrupted leaves
    nothing behind.

    Args:
        source: A path, glob or URL of JSON arrays or JSON Lines, a list of these, or an iterable of dicts.
        output: The directory to make.
        encoding: The encoding's name (`"gpt2"` by default), a `tiktoken.Encoding` or a `Tokenizer`.
        template: The name of a built-in template (`"alpaca"` by default), a `PromptTemplate` or any `Template`.
        fields: The key of the records for each field of the template whose name differs; none by default.
        append_eot: True (default) ends each record with the end-of-text token, and supervises it; False does not.
        max_length: The most tokens of a record; there is no limit by default.
        overlong: What becomes of records longer than `max_length`: `"truncate"` (default) cuts off their ends,
            `"drop"` leaves them out and counts them, `"error"` treats them as bad records.
        layout: The kind of files: `"arrow"` (default) or `"npy"`.
        records_per_shard: The number of records in each shard but the last, 262,144 by default.
        workers: The number of processes; by default all cores are used once there is enough to do. A script needs
            no `__main__` guard: workers do not run it. On Windows this process works alone.
        engine: Where workers run; `"local"` is this machine.
        timeout: The seconds that a worker may take for 1,024 records before it is taken for stuck, 600 by default.
        on_error: What becomes of bad records: `"raise"` (default) stops at the first, `"skip"` leaves them out and
            counts them in the manifest, by reason.
        progress: A function that is called with the number of records of each piece of work done; none by default.

    Raises:
        InputError: An argument, the source or a record is wrong; it is named.
        EncodingError: The encoding is unknown or out of reach.
        StoreWriteError: `output` holds something else.
        StorageError: The disk failed.
        WorkerError: A worker process died, is stuck, or cannot be sent the template or the encoding.

    >>> import tempfile
    >>> records = [{"instruction": "Say hi.", "output": "Hi."}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/store", encoding="bytes")
    >>> len(store), store.spans(0).tolist()
    (1, [[131, 151]])
    """
    _check(engine=engine, append_eot=append_eot, max_length=max_length, overlong=overlong, on_error=on_error)
    chosen = _template(template, fields)
    recipe = Recipe(chosen, load_encoding(encoding), append_eot, max_length, overlong, on_error)
    runner = _runner(recipe, workers, timeout)
    chunks = read_chunks(resolve(source), skip=on_error == "skip")
    with StoreWriter(
        output,
        encoding=recipe.tokenizer,
        layout=layout,
        records_per_shard=records_per_shard,
        template=chosen.name,
    ) as writer:
        _write(writer, runner.run(recipe.encode, chunks), progress)
    return TokenStore(output)


def _check(*, engine: str, append_eot: bool, max_length: int | None, overlong: str, on_error: str) -> None:
    if engine != "local":
        raise InputError(f"engine is {engine!r}: this version runs workers on this machine; use engine='local'")
    check_flag("append_eot", append_eot)
    check_choices(overlong=(overlong, ("truncate", "drop", "error")), on_error=(on_error, ("raise", "skip")))
    if max_length is not None:
        check_count("max_length", max_length, 1)


def _runner(recipe: Recipe, workers: int | None, timeout: int) -> Engine:
    """Return what runs the work: all cores by default, but only once there is enough to do.

    Workers do not run the caller's script, so what it defines itself stays in this process.
    """
    timeout, count = check_counts(timeout=(timeout, 1), workers=(1 if workers is None else workers, 1))
    workers = None if workers is None else count
    for part, what in ((recipe.template, "template"), (recipe.tokenizer, "encoding")):
        if type(part).__module__ == "__main__" and workers != 1:
            if workers is None:
                return ThisProcess()
            raise InputError(
                f"the {what} is a {type(part).__name__}, which the script itself defines, and workers={workers} "
                "processes do not run it: define it in a module that they can import, or set workers=1"
            )
    if workers == 1 or sys.platform == "win32":  # workers inherit a descriptor, for which Windows has no way
        return ThisProcess()
    if workers is None:
        # Not every system can tell the cores this process may use from the machine's.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return ThisProcess() if cores == 1 else Processes(cores, timeout, spared=_BEFORE_WORKERS)
    return Processes(workers, timeout)


def _write(writer: StoreWriter, chunks: Iterator[Encoded], progress: Callable[[int], object] | None) -> None:
    written, rejected = 0, Counter[str]()
    for chunk in chunks:
        writer.append(chunk.tokens, chunk.spans, chunk.source_rows)
        rejected.update(chunk.rejected)
        written += len(chunk.source_rows)
        if progress is not None:
            progress(len(chunk.source_rows))
    if not written:
        raise _no_records(rejected)
    if rejected:
        writer.reject(rejected)


def _template(template: str | Template, fields: Mapping[str, str] | None) -> Template:
    chosen = load_template(template)
    if fields is None:
        return chosen
    if not isinstance(chosen, PromptTemplate | ChatFormat | PreferenceTemplate):
        raise InputError(
            f'fields= was given with template "{chosen.name}", which has no fields: rename the keys of the '
            "records instead, or let the template read the ones they have",
            reason="unknown_field",
        )
    return chosen.renamed(fields)  # a wrong name is an error at once, not in every record


def _no_records(rejected: Counter[str]) -> InputError:
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    return InputError(f"the source holds no usable records ({counted or 'it is empty'})", reason="empty")
