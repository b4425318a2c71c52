"""How a chunk of records becomes tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import EncodingError, InputError
from fastcollate.pretokenize.kept_columns import NOTHING, KeptColumns
from fastcollate.pretokenize.ready_tokens import take_tokens
from fastcollate.pretokenize.telling import count_unread
from fastcollate.ragged import IntArray, Ragged
from fastcollate.sources.chunk import Chunk, Rejected
from fastcollate.templates.segments import Document, Template, Texts, TokenDocument
from fastcollate.tokenizers.boundaries import lack_end
from fastcollate.tokenizers.cuts import cut
from fastcollate.tokenizers.documents import EncodedDocuments, encode_documents
from fastcollate.tokenizers.pieces import control_ids
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["Encoded", "OnError", "Overlong", "Recipe", "Unsupervised"]

Overlong = Literal["truncate", "keep_end", "cut_prompt", "drop", "error"]
Unsupervised = Literal["drop", "keep", "error"]
OnError = Literal["raise", "skip"]


class Encoded(NamedTuple):
    """A chunk ready for the store.

    Attributes:
        tokens: The uint32 ids of N records.
        spans: Their targets, as uint32 (start, stop) pairs.
        source_rows: `int64[N]`, the row each record came from, counted through all sources.
        columns: What the store has beside them.
        path: The file the chunk is from; None is the given iterable.
        rejected: The records that were left out.
        noted: How many were kept and are told of, by what is told of them.
    """

    tokens: Ragged
    spans: Ragged
    source_rows: IntArray
    columns: dict[str, Any]
    path: str | None
    rejected: list[Rejected]
    noted: Counter[str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a chunk of records becomes is a function of the chunk and these fields alone.

    Args:
        template: What makes text of a record.
        tokenizer: What makes tokens of the text.
        append_eot: True ends each record with the end-of-text token.
        max_length: The most tokens of a record; None is no limit.
        overlong: What becomes of longer records.
        unsupervised: What becomes of records without a target.
        on_error: `"raise"` stops at a bad record, `"skip"` leaves it out.
        kept: The columns that are kept of the records.
    """

    template: Template
    tokenizer: Tokenizer
    append_eot: bool = True
    max_length: int | None = None
    overlong: Overlong = "truncate"
    unsupervised: Unsupervised = "drop"
    on_error: OnError = "raise"
    kept: KeptColumns = NOTHING

    def encode(self, chunk: Chunk) -> Encoded:
        """Return the tokens of a chunk.

        Raises:
            InputError: A record is bad, and `on_error` is "raise".
            EncodingError: A record cannot be encoded, and `on_error` is "raise".
        """
        left_out = _LeftOut(chunk, skip=self.on_error == "skip")
        made = self._documents(chunk, left_out)
        encoded, made = self._tokens(made, chunk, left_out)
        lengths = encoded.tokens.lengths
        tokens, spans, weights = encoded.tokens, encoded.spans, encoded.weights
        noted = Counter[str]()
        how = self.overlong
        if self.max_length is not None and how != "drop" and how != "error":  # noqa: PLR1714  # so mypy sees a `Cut`
            tokens, spans, weights = cut(tokens, spans, weights, self.max_length, how)
        good = self._good(made, lengths, encoded.spans, spans, left_out)
        usable = np.flatnonzero(good)
        noted["cut"] = int((tokens.lengths < lengths)[usable].sum())
        read = chunk.records
        if len(left_out.rejected) > len(chunk.rejected):
            read = [chunk.records[i] for i in dict.fromkeys(made.origins[usable].tolist())]
        noted.update(count_unread(read, self.template, self.kept.names))
        noted["unsupervised"] = int((spans.lengths[usable] == 0).sum())
        noted["straddled"] = int(encoded.straddled[usable].sum())
        noted["control_text"] = int(encoded.control_spelt[usable].sum())
        noted["no_end"] = int(lack_end(tokens, spans, control_ids(self.tokenizer))[usable].sum())
        noted.update(f"absent:{name}" for i, name in sorted(encoded.absent) if good[i])
        origins = made.origins[usable]
        columns: dict[str, Any] = self.kept.of(chunk.records, origins)
        if made.grouped:
            columns["group"] = made.groups[usable]
        if weights is not None:
            columns["weights"] = weights[np.repeat(good, spans.lengths // 2)]
        if len(usable) < len(tokens):
            tokens, spans = tokens.take(usable), spans.take(usable)
        rows = chunk.base + chunk.rows[origins]
        return Encoded(tokens, spans, rows, columns, chunk.origin.path, left_out.rejected, +noted)

    def _documents(self, chunk: Chunk, left_out: _LeftOut) -> _Made:
        """Return the documents of all records that have some: of all at once, where the template can."""
        many = getattr(self.template, "texts", None)
        if many is not None and chunk.records:
            with suppress(InputError):
                for record in chunk.records if self.kept.kinds else ():
                    self.kept.check(record)
                if (texts := many(chunk.records)) is not None:
                    return _Made.of_texts(texts)
        return self._each_document(chunk, left_out)

    def _each_document(self, chunk: Chunk, left_out: _LeftOut) -> _Made:
        """Return the documents of all records that have some, and leave the others out."""
        origins: list[int] = []
        documents: list[Document | TokenDocument] = []
        make = self.template.documents
        for i, record in enumerate(chunk.records):
            try:
                self.kept.check(record)
                found = make(record)
            except InputError as error:
                left_out.add_record(i, str(error), error.reason)
            else:
                documents += found
                origins += [i] * len(found)
        return _Made.of(origins, documents)

    def _tokens(self, made: _Made, chunk: Chunk, left_out: _LeftOut) -> tuple[EncodedDocuments, _Made]:
        """Encode the documents, without those that the tokenizer cannot encode."""
        try:
            return self._encoded(made.documents), made
        except EncodingError:
            each = made.documents
            if isinstance(each, Texts):
                made = self._each_document(chunk, left_out)
                each = cast("list[Document | TokenDocument]", made.documents)
            good = np.ones(len(each), bool)
            for i, document in enumerate(each):
                try:
                    self._encoded([document])
                except EncodingError as error:
                    left_out.add_unencodable(made, i, error)
                    good[i] = False
            kept = np.flatnonzero(_whole_groups(good, made.groups)).tolist()
            made = _Made.of(made.origins[kept].tolist(), [each[i] for i in kept])
            return self._encoded(made.documents), made

    def _encoded(self, documents: Sequence[Document | TokenDocument] | Texts) -> EncodedDocuments:
        end = self.tokenizer.eot_token_id if self.append_eot else None
        if isinstance(documents, Texts):
            return encode_documents(self.tokenizer, documents, end_token_id=end)
        texts = [document for document in documents if isinstance(document, Document)]
        ready = [document for document in documents if isinstance(document, TokenDocument)]
        if texts and ready:
            raise InputError(f'template "{self.template.name}" gives text and tokens: it must give one of them')
        if ready:
            return take_tokens(ready, self.tokenizer.vocab_size)
        return encode_documents(self.tokenizer, texts, end_token_id=end)

    def _good(
        self, made: _Made, lengths: IntArray, whole: Ragged, spans: Ragged, left_out: _LeftOut
    ) -> NDArray[np.bool_]:
        """Return which documents have tokens, and not too many, and targets; of a group all have, or none."""
        good = lengths > 0
        for i in np.flatnonzero(~good).tolist():
            left_out.add(made, i, "it has no tokens: leave it out, or set append_eot", "empty")
        if self.max_length is not None and self.overlong in ("drop", "error"):
            over = lengths > self.max_length
            for i in np.flatnonzero(over).tolist():
                message = f"it has {lengths[i]} tokens, more than max_length={self.max_length}"
                left_out.add(made, i, message, "overlong", wanted=self.overlong == "drop")
            good &= ~over
        if self.unsupervised != "keep":
            bare = good & (spans.lengths == 0)
            for i in np.flatnonzero(bare).tolist():
                left_out.add_bare(made, i, cut_away=bool(len(whole[i])), wanted=self.unsupervised == "drop")
            good &= ~bare
        return _whole_groups(good, made.groups) if made.grouped else good


class _Made(NamedTuple):
    """The documents of a chunk: of which record each is, and its group or -1."""

    documents: list[Document | TokenDocument] | Texts
    origins: IntArray
    groups: IntArray

    @classmethod
    def of_texts(cls, texts: Texts) -> _Made:
        count = len(texts.texts)
        return cls(texts, np.arange(count), np.full(count, -1))

    @classmethod
    def of(cls, origins: list[int], documents: list[Document | TokenDocument]) -> _Made:
        # a group is one of one record: its number says so
        numbers: dict[tuple[int, int], int] = {}
        groups = [
            -1 if document.group is None else numbers.setdefault((origin, document.group), len(numbers))
            for origin, document in zip(origins, documents, strict=True)
        ]
        return cls(documents, np.array(origins, np.int64), np.array(groups, np.int64))

    def has_empty_target(self, i: int) -> bool:
        """Whether document `i` has a target without text."""
        if isinstance(self.documents, Texts):
            _, sizes, weights, offsets = self.documents
            own = slice(offsets[i], offsets[i + 1])
            return bool(((sizes[own] == 0) & (weights[own] != 0)).any())
        document = self.documents[i]
        return isinstance(document, Document) and any(s.weight and not s.text for s in document.segments)

    @property
    def grouped(self) -> bool:
        return bool((self.groups >= 0).any())


class _LeftOut:
    """What of a chunk is left out, and why: a line each.

    Attributes:
        rejected: The lines.
    """

    def __init__(self, chunk: Chunk, *, skip: bool) -> None:
        self.rejected = list(chunk.rejected)
        self._chunk = chunk
        self._skip = skip
        self._told = set[int]()  # records of which a group is left out

    def add_record(self, i: int, message: str, reason: str, *, wanted: bool = False) -> None:
        """Leave record `i` out: as a bad one, or, if `wanted`, as one that was asked to be left out."""
        row = int(self._chunk.rows[i])
        if not (self._skip or wanted):
            raise self._chunk.origin.error(row, message, reason)
        self.rejected.append(Rejected(row, reason, message, self._chunk.records[i]))

    def add(self, made: _Made, i: int, message: str, reason: str, *, wanted: bool = False) -> None:
        """Leave document `i` out, and its group with it, of which nothing more is told."""
        origin = int(made.origins[i])
        if made.groups[i] >= 0 and origin in self._told:
            return
        self._told.update([origin] if made.groups[i] >= 0 else [])
        self.add_record(origin, message, reason, wanted=wanted)

    def add_unencodable(self, made: _Made, i: int, error: EncodingError) -> None:
        """Leave document `i` out, since the tokenizer cannot encode it."""
        if not self._skip:
            origin, row = self._chunk.origin, int(self._chunk.rows[made.origins[i]])
            message = f"{origin.at(row)}: {error}"
            raise EncodingError(message, path=origin.path, row=origin.number(row)) from None
        self.add(made, i, str(error), "not_encodable")

    def add_bare(self, made: _Made, i: int, *, cut_away: bool, wanted: bool) -> None:
        """Leave document `i` out, since it has no target."""
        if cut_away:
            message = "max_length cuts all its targets away: raise it, or set overlong"
            self.add(made, i, message, "unsupervised", wanted=wanted)
        elif made.has_empty_target(i):
            self.add(made, i, "its answer is empty: nothing of it would be learnt", "empty", wanted=wanted)
        else:
            message = "nothing of it is a target: every part is empty or has weight 0"
            self.add(made, i, message, "unsupervised", wanted=wanted)


def _whole_groups(good: NDArray[np.bool_], groups: IntArray) -> NDArray[np.bool_]:
    """Return the same without the groups of which some document is not good."""
    broken = groups[~good & (groups >= 0)]
    return good & ~np.isin(groups, broken) if len(broken) else good
