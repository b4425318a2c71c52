"""The write path: records -> segments -> tokens -> store."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from fastcollate.arguments import check_choices, check_count, check_counts, check_flag
from fastcollate.errors import InputError
from fastcollate.pretokenize.engines import Engine, Processes, ThisProcess
from fastcollate.pretokenize.kept_columns import KeptColumns
from fastcollate.pretokenize.recipe import Encoded, OnError, Overlong, Recipe, Unsupervised
from fastcollate.pretokenize.settling import first_records, settle_template, settle_tokenizer
from fastcollate.pretokenize.telling import count_together, say, tell
from fastcollate.sources.paths import labels
from fastcollate.sources.resolve import find_sources
from fastcollate.sources.source import read_chunks
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.entries import Layout
from fastcollate.store.writer import StoreWriter
from fastcollate.templates.segments import Template
from fastcollate.tokenizers.load import AnyEncoding

__all__ = ["prepare"]

_BEFORE_WORKERS = 1 << 22  # tokens made here by default, of about 32,000 short records: workers take time to start


def prepare(
    source: str | Path | Iterable[Any],
    output: str | Path,
    *,
    encoding: AnyEncoding = "gpt2",
    template: str | Path | Template | None = None,
    fields: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002  # pinned
    append_eot: bool = True,
    max_length: int | None = None,
    overlong: Overlong = "truncate",
    unsupervised: Unsupervised = "drop",
    train_on: str = "all",
    response_marker: str | None = None,
    prompt_marker: str | None = None,
    keep_columns: Sequence[str] = (),
    layout: Layout = "arrow",
    records_per_shard: int = 262_144,
    workers: int | None = None,
    engine: Literal["local"] = "local",
    timeout: int = 600,
    on_error: OnError = "raise",
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> TokenStore:
    r"""`prepare` tokenises records once, into a store at `output`, and returns the store.

    The same source gives the same bytes for any number of workers. A call that fails or is interrupted leaves
    nothing behind. What it finds out, and what a model would learn that was not meant, it says to the logger
    "fastcollate", and counts it in the manifest; each record that is left out is a line of `rejected.jsonl` there.

    Args:
        source: A path, glob, folder or URL, a list of these, `"-"` for standard input, a table, or an iterable of
            dicts. Files are JSON, JSON Lines, Parquet, Arrow, CSV, TSV or plain text, also compressed.
        output: The directory to make.
        encoding: The encoding's name (`"gpt2"` by default), a file of one, a `tiktoken.Encoding` or a `Tokenizer`.
        template: The name of a built-in template, the path of a template's file, a `PromptTemplate` or any
            `Template`; by default the first records tell which one.
        fields: The key of the records for each field of the template whose name differs; none by default.
        format: The format of the files, as `find_sources` has it; by default name and content tell.
        append_eot: True (default) ends each record with the end-of-text token, which is a target where what it
            ends is one; False does not.
        max_length: The most tokens of a record; there is no limit by default.
        overlong: What becomes of records longer than `max_length`: `"truncate"` (default) cuts off their ends,
            `"keep_end"` cuts before their last token, `"cut_prompt"` cuts off the beginning of the prompt,
            `"drop"` leaves them out and counts them, `"error"` treats them as bad records.
        unsupervised: What becomes of records without a target, such as one with an empty answer or one whose
            answer was cut away: `"drop"` (default) leaves them out and counts them, `"keep"` keeps and counts
            them, `"error"` treats them as bad records.
        train_on: Which turns of a conversation are learnt: `"all"` (default) of the assistant's, the `"last"`, or
            `"none-before N"`, those from turn N on.
        response_marker: What stands before an answer in text that is a whole conversation, such as
            `"\n\nAssistant:"`: only what follows one is learnt; by default the template alone decides.
        prompt_marker: What stands before a prompt in such text, where an answer ends; by default it ends the text.
        keep_columns: Keys of the records that become columns of the store; none by default.
        layout: The kind of files: `"arrow"` (default) or `"npy"`.
        records_per_shard: The number of records in each shard but the last, 262,144 by default.
        workers: The number of processes; by default all cores are used once there is enough to do. A script needs
            no `__main__` guard: workers do not run it. On Windows this process works alone.
        engine: Where workers run; `"local"` is this machine.
        timeout: The seconds that a worker may take for 4,096 records before it is taken for stuck, 600 by default.
        on_error: What becomes of bad records: `"raise"` (default) stops at the first, `"skip"` leaves them out and
            counts them in the manifest, by reason.
        storage_options: Settings of the object store that the source is in, such as `{"endpoint_url": ...}`; by
            default environment variables such as `AWS_ACCESS_KEY_ID` decide.
        progress: A function that is called with the number of records of each piece of work done; none by default.

    Raises:
        InputError: An argument, the source or a record is wrong; it is named.
        EncodingError: The encoding is unknown or out of reach.
        StoreWriteError: `output` holds something else.
        StorageError: The disk failed, or an object store.
        WorkerError: A worker process died, is stuck, or cannot be sent the template or the encoding.

    >>> import tempfile
    >>> records = [{"instruction": "Say hi.", "output": "Hi."}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/store", encoding="bytes")
    >>> len(store), store.spans(0).tolist()
    (1, [[131, 151]])
    """
    _check(engine, append_eot, max_length)
    _check_fates(overlong, unsupervised, on_error)
    tokenizer = settle_tokenizer(encoding, append_eot=append_eot)
    found = find_sources(source, format=format, storage_options=storage_options)
    say(found.notes)
    first, chunks = first_records(read_chunks(found.sources, skip=on_error == "skip"))
    kept, markers = KeptColumns.found(keep_columns, first), (response_marker, prompt_marker)
    chosen = settle_template(template, first, fields=fields, train_on=train_on, markers=markers)
    recipe = Recipe(chosen, tokenizer, append_eot, max_length, overlong, unsupervised, on_error, kept)
    options: dict[str, Any] = {"layout": layout, "records_per_shard": records_per_shard, "template": chosen.name}
    with StoreWriter(output, encoding=tokenizer, **options) as writer:
        _write(writer, _runner(recipe, workers, timeout).run(recipe.encode, chunks), labels(found.found), progress)
    return tell(TokenStore(output))


def _check(engine: str, append_eot: bool, max_length: int | None) -> None:
    if engine != "local":
        raise InputError(f"engine is {engine!r}: this version runs workers on this machine; use engine='local'")
    check_flag("append_eot", append_eot)
    if max_length is not None:
        check_count("max_length", max_length, 1)


def _check_fates(overlong: str, unsupervised: str, on_error: str) -> None:
    check_choices(
        overlong=(overlong, get_args(Overlong)),
        unsupervised=(unsupervised, get_args(Unsupervised)),
        on_error=(on_error, get_args(OnError)),
    )


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
        return ThisProcess() if cores == 1 else Processes(cores, timeout, _BEFORE_WORKERS, _tokens)
    return Processes(workers, timeout)


def _tokens(done: Encoded) -> int:
    return len(done.tokens.values)


def _write(
    writer: StoreWriter,
    chunks: Iterator[Encoded],
    files: Mapping[str, str],
    progress: Callable[[int], object] | None,
) -> None:
    """Write the chunks; `files` is what `rejected.jsonl` calls each file."""
    written, rejected, noted, first = 0, Counter[str](), Counter[str](), ""
    for chunk in chunks:
        writer.append(chunk.tokens, chunk.spans, chunk.source_rows, chunk.columns)
        if chunk.rejected:
            counts = Counter(line.reason for line in chunk.rejected)
            file = None if chunk.path is None else files.get(chunk.path, chunk.path)
            writer.reject(counts, ({"file": file, **line._asdict()} for line in chunk.rejected))
            rejected.update(counts)
            first = first or chunk.rejected[0].message
        count_together(noted, chunk.noted)
        written += len(chunk.source_rows)
        if progress is not None:
            progress(len(chunk.source_rows))
    if not written:
        raise _no_records(rejected, first)
    writer.note(noted)


def _no_records(rejected: Counter[str], first: str) -> InputError:
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
    said = f"; the first: {first}" if first else ""
    return InputError(f"the source holds no usable records ({counted or 'it is empty'}){said}", reason="empty")
