"""An audit as aligned text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fastcollate.errors import plural
from fastcollate.reports.lengths import in_words
from fastcollate.reports.text import columns, printable

if TYPE_CHECKING:
    from fastcollate.reports.audits.findings import Audit, Finding

__all__ = ["HEADS", "as_text", "facts", "percent", "rows_of"]

HEADS = {
    "by_length": ("tokens", "records", "targets", "share of all targets", "of these tokens"),
    "by_role": ("role", "turns", "tokens", "targets", "share of all targets"),
    "longest": ("record", "tokens"),
    "heaviest": ("record", "tokens", "targets", "weight", "share of the loss"),
}
"""The columns of the tables by the attribute of an `Audit` that each shows."""

_TITLES = {
    "by_length": "targets by length",
    "by_role": "targets by role",
    "longest": "the longest records",
    "heaviest": "the records that weigh most in the loss",
}


def percent(part: float, whole: float = 1) -> str:
    """Return a share in percent; what is more than nothing is never shown as nothing.

    >>> percent(1, 3), percent(1, 10**6), percent(0, 0)
    ('33.3 %', '< 0.1 %', '0.0 %')
    """
    share = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.0005 else f"{share:.1%}".replace("%", " %")


def facts(audit: Audit) -> dict[str, str]:
    """Return what an audit is about, line by line."""
    return {
        "path": audit.path,
        "encoding": audit.encoding,
        "template": audit.template or "none",
        "records": f"{audit.records:,}",
        "tokens": f"{audit.tokens:,}",
        "targets": f"{audit.targets:,}, {percent(audit.targets, audit.tokens)} of the tokens",
        "lengths": in_words(dict(audit.lengths)) if audit.lengths else "none",
    }


def rows_of(audit: Audit, name: str) -> list[tuple[str, ...]]:
    """Return the rows of one of the tables, as `HEADS` has their columns."""
    if name == "by_length":
        return [
            (
                f"{share.first:,} - {share.last:,}",
                f"{share.records:,}",
                f"{share.targets:,}",
                percent(share.targets, audit.targets),
                percent(share.targets, share.tokens),
            )
            for share in audit.by_length
        ]
    if name == "by_role":
        return [
            (role, f"{turns:,}", f"{tokens:,}", f"{targets:,}", percent(targets, audit.targets))
            for role, turns, tokens, targets in audit.by_role
        ]
    if name == "longest":
        return [(f"{record:,}", f"{tokens:,}") for record, tokens in audit.longest]
    return [
        (f"{record:,}", f"{tokens:,}", f"{targets:,}", f"{weight:,.10g}", percent(share))
        for record, tokens, targets, weight, share in audit.heaviest
    ]


def as_text(audit: Audit) -> str:
    """Return all tables under each other, and last, where a terminal shows it, what was found."""
    width = max(map(len, facts(audit)))
    parts = ["\n".join(f"{name:{width}}  {printable(value)}" for name, value in facts(audit).items())]
    for name, title in _TITLES.items():
        rows = rows_of(audit, name)
        if rows:
            parts.append(f"{title}\n{_table([HEADS[name], *rows])}")
    parts += [_wrapped(f"left out: {printable(sentence)}") for sentence in audit.left_out]
    parts.append(_findings(audit.findings) if audit.findings else "nothing was found")
    return "\n\n".join(parts)


def _findings(findings: Iterable[Finding]) -> str:
    blocks = []
    for finding in findings:
        shown = ", ".join(f"{number:,}" for number in finding.examples)
        more = ", ..." if finding.count > len(finding.examples) else ""
        head = f"{finding.kind}: {plural(finding.count, 'record')}, {percent(finding.share)}"
        blocks.append("\n".join([head, _wrapped(finding.meaning, "  "), _wrapped(f"records {shown}{more}", "  ")]))
    return "\n".join(blocks)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, columns(), initial_indent=indent, subsequent_indent=indent)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows with their columns under each other, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    )
