"""The write path: records -> segments -> tokens -> store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fastcollate.arguments import check_choice, check_choices, check_count, check_flag
from fastcollate.pretokenize.account import Account
from fastcollate.pretokenize.kept_columns import KeptColumns
from fastcollate.pretokenize.parts.adding import OldStore
from fastcollate.pretokenize.parts.journal import arguments_of
from fastcollate.pretokenize.parts.unfinished import Unfinished
from fastcollate.pretokenize.parts.writing import Finished, Target
from fastcollate.pretokenize.places.choosing import place_at
from fastcollate.pretokenize.places.drafts import Drafts
from fastcollate.pretokenize.recipe import OnError, Overlong, Recipe, Unsupervised
from fastcollate.pretokenize.settling import settle_template, settle_tokenizer
from fastcollate.pretokenize.telling import tell
from fastcollate.pretokenize.work import EngineName, Work, Workers
from fastcollate.sources.resolve import find_sources
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.entries import Layout
from fastcollate.store.shards_writer import info_of
from fastcollate.templates.segments import Template
from fastcollate.tokenizers.load import AnyEncoding
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["prepare"]


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
    engine: EngineName = "local",
    timeout: int = 600,
    on_error: OnError = "raise",
    append: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | Account | None = None,
) -> TokenStore:
    r"""`prepare` tokenises records once, into a store at `output`, and returns the store.

    The same source gives the same bytes for any number of workers. A large source is done in parts: a call that
    fails, is interrupted or killed leaves those that are finished, and the same call goes on with the others; what
    is unfinished never opens as a store. A call that has finished none leaves nothing. What it finds out, and what
    a model would learn that was not meant, it says to the logger "fastcollate", and counts it in the manifest;
    each record that is left out is a line of `rejected.jsonl` there.

    Args:
        source: A path, glob, folder or URL, a list of these, `"-"` for standard input, a table, or an iterable of
            dicts. Files are JSON, JSON Lines, Parquet, Arrow, CSV, TSV or plain text, also compressed.
        output: The directory to make, or the URL of a prefix in an object store such as `s3://bucket/store`.
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
        records_per_shard: The most records of a shard, 262,144 by default.
        workers: The most processes, by default as many as there are cores; this one works alone until there is
            enough to do for others. A script needs no `__main__` guard: workers do not run it. On Windows this
            process works alone.
        engine: Where workers run: `"local"` (default) is this machine; `"ray"` is the Ray cluster that the program
            is connected to or `RAY_ADDRESS` names, else a Ray that is started here for this call. There `workers`
            is the most tasks at a time, by default as many as there are CPUs; a dead worker's task is begun again;
            and source and output must be URLs, or in folders that all nodes share.
        timeout: The seconds that a worker may take for 4,096 records before it is taken for stuck, 600 by default;
            on Ray, the seconds without a sign of any task.
        on_error: What becomes of bad records: `"raise"` (default) stops at the first, `"skip"` leaves them out and
            counts them in the manifest, by reason.
        append: True adds the records to the store in the directory `output`, of the same encoding, layout and
            columns; who reads it meanwhile goes on as before. False (default) makes a store.
        storage_options: Settings of the object store that the source or the output is in, such as
            `{"endpoint_url": ...}`; by default environment variables such as `AWS_ACCESS_KEY_ID` decide.
        progress: A function that is called with the number of records of each piece of work done, or an `Account`,
            which also knows tokens, bytes, seconds and what became of the records; none by default.

    Raises:
        InputError: An argument, the source or a record is wrong; it is named.
        EncodingError: The encoding is unknown or out of reach.
        StoreWriteError: `output` holds something else, or an unfinished store that was begun otherwise: what
            differs is named. Or another process is writing there, or `append` does not go with what is there.
        StorageError: The disk failed, or an object store.
        WorkerError: A worker process died, is stuck, or cannot be sent the template or the encoding; or Ray is not
            installed or cannot be reached.

    >>> import tempfile
    >>> records = [{"instruction": "Say hi.", "output": "Hi."}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/store", encoding="bytes")
    >>> len(store), store.spans(0).tolist()
    (1, [[131, 151]])
    """
    _check(max_length, (append_eot, append), (overlong, unsupervised, on_error))
    tokenizer = settle_tokenizer(encoding, append_eot=append_eot)
    found = find_sources(source, format=format, storage_options=storage_options)
    work = Work(found, Workers(workers, timeout, engine), skip=on_error == "skip")
    first, place = work.first_records(), place_at(output, storage_options)
    kept, markers = KeptColumns.found(keep_columns, first), (response_marker, prompt_marker)
    chosen = settle_template(template, first, fields=fields, train_on=train_on, markers=markers)
    recipe = Recipe(chosen, tokenizer, append_eot, max_length, overlong, unsupervised, on_error, kept)
    target = _target(place.drafts, tokenizer, layout, records_per_shard, work.labels)
    old = OldStore.at(place, target, kept) if append else None
    _do(work, recipe, target, Unfinished(place, arguments_of(recipe, target), work.tasks, old), progress)
    return tell(TokenStore(place.url, storage_options=storage_options))


def _do(
    work: Work,
    recipe: Recipe,
    target: Target,
    output: Unfinished,
    progress: Callable[[int], object] | Account | None,
) -> None:
    """Do what is left to do, and make the store of it."""
    account = Account.of(progress)
    with output as unfinished:
        account.begin(work.tasks, unfinished.finished, work.cores)
        if unfinished.is_whole:
            return
        for item in work.steps(recipe, target, unfinished.finished):
            if isinstance(item, Finished):
                unfinished.finish(item)
            account.add(item)
        unfinished.commit(target, recipe.template.name)
        account.end()


def _check(
    max_length: int | None, flags: tuple[bool, bool], fates: tuple[Overlong, Unsupervised, OnError]
) -> None:
    for name, flag in zip(("append_eot", "append"), flags, strict=True):
        check_flag(name, flag)
    if max_length is not None:
        check_count("max_length", max_length, 1)
    overlong, unsupervised, on_error = fates
    check_choices(
        overlong=(overlong, get_args(Overlong)),
        unsupervised=(unsupervised, get_args(Unsupervised)),
        on_error=(on_error, get_args(OnError)),
    )


def _target(
    drafts: Drafts, tokenizer: Tokenizer, layout: Layout, records_per_shard: int, labels: Mapping[str, str]
) -> Target:
    check_choice("layout", layout, get_args(Layout))
    per_shard = check_count("records_per_shard", records_per_shard, 1)
    return Target(drafts, info_of(tokenizer), layout, per_shard, labels)
