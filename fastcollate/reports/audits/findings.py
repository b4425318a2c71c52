"""What an audit found, as objects; as text, JSON and HTML where these are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastcollate.errors import plural
from fastcollate.ragged import IntArray
from fastcollate.reports.audits import page, tables
from fastcollate.reports.audits.column_part import Heavy, LengthShare
from fastcollate.reports.audits.token_part import RoleShare
from fastcollate.reports.transcript import Part

__all__ = ["Audit", "Finding"]

_EXAMPLES = 10


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A `Finding` is one kind of fault, and the records that have it.

    Attributes:
        kind: The word for the kind, such as `"no_target"`.
        records: The numbers of the records, rising: int64[M].
        share: The part of all records, from 0 to 1.
        meaning: What the fault means, and what to do.
    """

    kind: str
    records: IntArray
    share: float
    meaning: str

    def __repr__(self) -> str:
        return f"Finding({self.kind!r}, {plural(self.count, 'record')}, {self.share:.2%})"

    @property
    def count(self) -> int:
        """How many records have the fault."""
        return len(self.records)

    @property
    def examples(self) -> list[int]:
        """The numbers of the first ten records."""
        return [int(number) for number in self.records[:_EXAMPLES]]


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """An `Audit` says what a model would learn of a store that was not meant; `audit` makes one.

    `str` is its tables as text, and a notebook shows them as HTML.

    Attributes:
        path: Where the store is.
        encoding: The name of the encoding.
        template: The name of the template; None where the store has none.
        records: How many records there are.
        tokens: How many tokens these have.
        targets: How many of the tokens are targets.
        findings: What is wrong, one entry a kind.
        lengths: The least, median, mean, 99th percentile and largest length; empty for an empty store.
        by_length: The records, tokens and targets of each bin of lengths.
        by_role: The turns, tokens and targets of each role; empty where there are no turns, or none were read.
        longest: The twenty longest records, and their tokens.
        heaviest: The twenty records that weigh most in the loss.
        left_out: What was not looked for and why, a sentence each.
        transcripts: Records that are examples of findings, decoded, by their numbers.
    """

    path: str
    encoding: str
    template: str | None
    records: int
    tokens: int
    targets: int
    findings: tuple[Finding, ...]
    lengths: Mapping[str, float]
    by_length: tuple[LengthShare, ...]
    by_role: tuple[RoleShare, ...]
    longest: tuple[tuple[int, int], ...]
    heaviest: tuple[Heavy, ...]
    left_out: tuple[str, ...]
    transcripts: Mapping[int, tuple[Part, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        found = ", ".join(f"{finding.kind} {finding.count:,}" for finding in self.findings)
        return f"Audit({self.path!r}, {plural(self.records, 'record')}, found: {found or 'nothing'})"

    def __str__(self) -> str:
        return tables.as_text(self)

    def _repr_html_(self) -> str:
        return page.fragment(self)

    def to_html(self) -> str:
        """Return one page of HTML that needs nothing from elsewhere, with pictures and transcripts."""
        return page.whole(self)

    def as_dict(self) -> dict[str, Any]:
        """Return what was found as values for JSON; transcripts are left out."""
        return {
            "path": self.path,
            "encoding": self.encoding,
            "template": self.template,
            "records": self.records,
            "tokens": self.tokens,
            "targets": self.targets,
            "findings": [
                {
                    "kind": finding.kind,
                    "records": finding.count,
                    "share": finding.share,
                    "meaning": finding.meaning,
                    "examples": finding.examples,
                }
                for finding in self.findings
            ],
            "lengths": dict(self.lengths),
            "by_length": [share._asdict() for share in self.by_length],
            "by_role": [share._asdict() for share in self.by_role],
            "longest": [{"record": record, "tokens": tokens} for record, tokens in self.longest],
            "heaviest": [heavy._asdict() for heavy in self.heaviest],
            "left_out": list(self.left_out),
        }
