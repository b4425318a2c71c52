"""`audit`: what a model would learn of a store that was not meant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastcollate.arguments import check_count, check_flag
from fastcollate.errors import EncodingError, InputError
from fastcollate.ragged import IntArray
from fastcollate.reports.audits.column_part import (
    Heavy,
    bad_weights,
    heaviest,
    last_targets,
    loss_weights,
    shares_by_length,
    top,
    without_targets,
)
from fastcollate.reports.audits.findings import Audit, Finding
from fastcollate.reports.audits.kinds import KINDS
from fastcollate.reports.audits.token_part import TokenPart, read_tokens
from fastcollate.reports.lengths import summarise
from fastcollate.reports.transcript import Part, parts_of
from fastcollate.store.reader import TokenStore
from fastcollate.tokenizers.load import AnyEncoding
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["audit"]

_TRANSCRIPTS = 3  # of each kind
_MOST = 240  # tokens of a part that a transcript has

_QUICK = (
    "the tokens were not read, so duplicates, beginnings, ends, turns, roles, reasoning, control text and ids "
    "that are no tokens were not looked for: leave out quick (--quick)"
)


def audit(
    store: TokenStore | str | Path,
    *,
    length: int | None = None,
    quick: bool = False,
    encoding: AnyEncoding | None = None,
    progress: Callable[[int], object] | None = None,
) -> Audit:
    """`audit` looks through a store for what a model would learn that was not meant, and returns what it finds.

    Columns tell which records have no target, which are cut, how targets are spread over lengths, and which
    records weigh most in the loss. Tokens, which are all read once, tell the rest: ends that are missing, turns
    that are open, headers that are learnt, control text in plain letters, and records that are there twice.

    Args:
        store: A `TokenStore`, also a view by `split`, or the path of one.
        length: The tokens of a record that a loader keeps; None (default) looks for no cut targets. A collator
            keeps its `max_length`, and one more with `shift_labels=True`: the last target of a pair.
        quick: True leaves the tokens unread, and says so in `left_out`; False (default) reads them.
        encoding: The tokenizer that made the ids, as `load_encoding` takes it; by default it is found by its name.
            Where that leads to none, what needs the tokenizer is left out, and `left_out` says so.
        progress: A function that is called with the number of records of each piece of work done; none by default.

    Returns:
        An `Audit`: `findings`, tables of lengths, roles and the heaviest records; `str`, `as_dict` and `to_html`
        show them.

    Raises:
        InputError: An argument is wrong.
        EncodingError: `encoding` is unknown, or is another one than made the ids.
        StoreError: The store cannot be read.

    >>> from fastcollate import prepare
    >>> import tempfile
    >>> records = [{"prompt": "2+2? ", "completion": "4"}, {"prompt": "2+2? ", "completion": "4"}]
    >>> store = prepare(records, tempfile.mkdtemp() + "/store", encoding="bytes", template="prompt_completion")
    >>> found = audit(store, length=5)
    >>> found.findings, found.findings[0].records
    ((Finding('cut', 2 records, 100.00%), Finding('duplicate', 1 record, 50.00%)), array([0, 1]))
    """
    if not isinstance(store, TokenStore | str | Path):
        raise InputError(f"store is a {type(store).__name__}: audit takes a TokenStore or the path of one")
    length = None if length is None else check_count("length", length, 1)
    quick = check_flag("quick", quick)
    store = store if isinstance(store, TokenStore) else TokenStore(store)
    tokenizer, why = _tokenizer(store, encoding)
    if len(store) == 0:
        return _gathered(store, (), TokenPart({}, [], []), [], None, heavy=[])
    weights, cut = loss_weights(store), {}
    found = {"no_target": without_targets(store, weights), "bad_weight": bad_weights(store)}
    if length is not None:
        wholly, partly = last_targets(store, length)
        found["cut"] = np.sort(np.concatenate([wholly, partly]))
        cut = {"length": f"{length:,}", "wholly": f"{len(wholly):,}", "partly": f"{len(partly):,}"}
    read = TokenPart({}, [], [_QUICK]) if quick else read_tokens(store, tokenizer, progress)
    findings = _findings({**found, **read.records}, len(store), cut)
    return _gathered(store, findings, read, why, tokenizer, heavy=heaviest(store, weights))


def _tokenizer(store: TokenStore, encoding: AnyEncoding | None) -> tuple[Tokenizer | None, list[str]]:
    """Return what made the ids, or None and why there is none."""
    try:
        return store.tokenizer(encoding), []
    except EncodingError as error:
        if encoding is not None:
            raise
        why = (
            "what needs the tokenizer was not looked for, ends, turns, roles, reasoning and control text, and of "
            "beginnings only the end of a text twice; there are no transcripts"
        )
        return None, [f"{why}: give encoding (--encoding); {error}"]


def _findings(records: Mapping[str, IntArray], count: int, cut: Mapping[str, str]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            kind, records[kind], len(records[kind]) / count, meaning.format(**cut) if kind == "cut" else meaning
        )
        for kind, meaning in KINDS.items()
        if len(records.get(kind, ()))
    )


def _gathered(
    store: TokenStore,
    findings: tuple[Finding, ...],
    read: TokenPart,
    left_out: list[str],
    tokenizer: Tokenizer | None,
    *,
    heavy: list[Heavy],
) -> Audit:
    """Return the findings with what columns tell of lengths and weights, and with transcripts."""
    examples = {number for finding in findings for number in finding.examples[:_TRANSCRIPTS]}
    examples |= {each.record for each in heavy[:1]}
    return Audit(
        str(store.path),
        store.encoding,
        store.manifest.template,
        len(store),
        store.num_tokens,
        int(store.supervised.sum(dtype=np.int64)),
        findings,
        summarise(*store.length_histogram()) if len(store) else {},
        tuple(shares_by_length(store)) if len(store) else (),
        tuple(read.roles),
        tuple((record, int(store.lengths[record])) for record in top(store.lengths).tolist()),
        tuple(heavy),
        (*left_out, *read.left_out),
        {} if tokenizer is None else _transcripts(store, tokenizer, examples),
    )


def _transcripts(store: TokenStore, tokenizer: Tokenizer, numbers: Collection[int]) -> dict[int, tuple[Part, ...]]:
    """Return some records decoded, but for those that the tokenizer cannot decode."""
    parts = {}
    for number in sorted(numbers):
        with suppress(EncodingError):
            parts[number] = tuple(parts_of(store, number, tokenizer, most=_MOST))
    return parts
