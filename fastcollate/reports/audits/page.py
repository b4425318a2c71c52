"""An audit as HTML: a fragment for notebooks, and a page that needs nothing from elsewhere and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fastcollate.errors import plural
from fastcollate.reports.audits.pictures import Bar, bars, shown
from fastcollate.reports.audits.tables import HEADS, facts, percent, rows_of
from fastcollate.reports.transcript import Part

if TYPE_CHECKING:
    from fastcollate.reports.audits.findings import Audit, Finding

__all__ = ["fragment", "whole"]

_COLOURS = {
    "light": "--page:#fff;--text:#1c2024;--quiet:#5b6169;--line:#dfe2e6;--soft:#f5f6f8;--learnt:#12703f;"
    "--wash:#e6f4ec;--bar:#c3d2ca;--warn:#a85a00",
    "dark": "--page:#15171a;--text:#e7e9ec;--quiet:#a3abb4;--line:#33383e;--soft:#1e2125;--learnt:#5bd197;"
    "--wash:#16291f;--bar:#3f5a4b;--warn:#f0ad4e",
}
_STYLE = (
    ":root{color-scheme:light dark}"
    f".fca{{{_COLOURS['light']};background:var(--page);color:var(--text);"
    "font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}"
    f"@media (prefers-color-scheme:dark){{.fca{{{_COLOURS['dark']}}}}}"
    ".fca h1{font-size:1.4rem;margin:.2em 0 .6em}.fca h2{font-size:1.15rem;margin:2em 0 .5em}"
    ".fca h3{font-size:1rem;margin:0}.fca p{margin:.4em 0}.fca .quiet{color:var(--quiet)}"
    ".fca .scroll{overflow-x:auto}.fca table{border-collapse:collapse;background:none;margin:.5em 0}"
    ".fca th,.fca td{text-align:right;padding:.2em .8em .2em 0;border-bottom:1px solid var(--line);"
    "font-variant-numeric:tabular-nums;overflow-wrap:normal}.fca th{color:var(--quiet);font-weight:normal}"
    ".fca .facts th,.fca .facts td{text-align:left;border:0;vertical-align:top;overflow-wrap:anywhere}"
    ".fca .facts th{overflow-wrap:normal}.fca .scroll td{white-space:nowrap}"
    ".fca .finding{border-left:4px solid var(--warn);background:var(--soft);padding:.6em 1em;margin:.8em 0}"
    ".fca .count{color:var(--warn);font-weight:normal}.fca summary{cursor:pointer;color:var(--quiet)}"
    ".fca svg text{fill:currentColor;font-size:13px}.fca svg .after{text-anchor:end;fill:var(--quiet)}"
    ".fca .whole{fill:var(--bar)}.fca .part{fill:var(--learnt)}"
    ".fca .said{margin:.5em 0 .5em;padding:0 0 0 .7em;border-left:3px solid var(--line)}"
    ".fca .said.response{border-color:var(--learnt);background:var(--wash)}"
    ".fca .who{font-size:.8rem;color:var(--quiet)}.fca .response .who{color:var(--learnt)}"
    ".fca pre{font:13px/1.45 ui-monospace,monospace;margin:0;white-space:pre-wrap;overflow-wrap:anywhere;"
    "background:none;color:inherit;padding:.1em 0 .3em}"
    ".fca mark{background:var(--quiet);color:var(--page);border-radius:3px;padding:0 .25em}"
    "html.fca-page,html.fca-page body{margin:0}"
    f"html.fca-page{{{_COLOURS['light']};background:var(--page)}}"
    f"@media (prefers-color-scheme:dark){{html.fca-page{{{_COLOURS['dark']}}}}}"
)


def whole(audit: Audit) -> str:
    """Return a page of HTML; its policy allows its own style and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en" class="fca-page"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>audit of {shown(audit.path)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{_body(audit)}</body></html>\n"
    )


def fragment(audit: Audit) -> str:
    """Return the same as a part of another page."""
    return f"<style>{_STYLE}</style>{_body(audit)}"


def _body(audit: Audit) -> str:
    return f'<main class="fca">{"".join(_sections(audit))}</main>'


def _sections(audit: Audit) -> Iterator[str]:
    """Yield the parts of the page."""
    lines = (f"<tr><th>{name}</th><td>{shown(value)}</td></tr>" for name, value in facts(audit).items())
    yield f'<h1>Audit of a store</h1><table class="facts">{"".join(lines)}</table><h2>Findings</h2>'
    yield "\n".join(_finding(finding, audit) for finding in audit.findings) or "<p>Nothing was found.</p>"
    yield from (f'<p class="quiet">Left out: {shown(sentence)}</p>' for sentence in audit.left_out)
    if audit.by_length:
        yield f"<h2>Lengths</h2>{_lengths(audit)}"
        yield f"<h2>Targets by length</h2>{_LEGEND}{_targets_by_length(audit)}{_table(audit, 'by_length')}"
    if audit.by_role:
        yield f"<h2>Targets by role</h2>{_LEGEND}{_targets_by_role(audit)}{_table(audit, 'by_role')}"
    if audit.heaviest:
        yield f"<h2>The records that weigh most in the loss</h2>{_table(audit, 'heaviest')}"
        yield _record(audit.heaviest[0].record, audit)
    if audit.longest:
        yield f"<h2>The longest records</h2>{_table(audit, 'longest')}"


_LEGEND = '<p class="quiet">Dark: targets. Light: all tokens.</p>'


def _lengths(audit: Audit) -> str:
    return bars(
        "records of each length",
        [
            Bar(f"{s.first:,} - {s.last:,}", s.records, 0, f"{s.records:,}, {percent(s.records, audit.records)}")
            for s in audit.by_length
        ],
    )


def _targets_by_length(audit: Audit) -> str:
    return bars(
        "tokens and targets of each length",
        [
            Bar(f"{s.first:,} - {s.last:,}", s.tokens, s.targets, f"{percent(s.targets, audit.targets)} of all")
            for s in audit.by_length
        ],
    )


def _targets_by_role(audit: Audit) -> str:
    return bars(
        "tokens and targets of each role",
        [Bar(s.role, s.tokens, s.targets, f"{percent(s.targets, audit.targets)} of all") for s in audit.by_role],
    )


def _finding(finding: Finding, audit: Audit) -> str:
    listed = ", ".join(f"{number:,}" for number in finding.examples)
    more = ", ..." if finding.count > len(finding.examples) else ""
    count = f"{plural(finding.count, 'record')}, {percent(finding.share)}"
    return (
        f'<section class="finding"><h3>{finding.kind} <span class="count">{count}</span></h3>'
        f'<p>{shown(finding.meaning)}</p><p class="quiet">records {listed}{more}</p>'
        f"{''.join(_record(number, audit) for number in finding.examples)}</section>"
    )


def _record(number: int, audit: Audit) -> str:
    """Return the transcript of a record, if there is one."""
    if number not in audit.transcripts:
        return ""
    parts = "".join(map(_part, audit.transcripts[number]))
    return f"<details><summary>record {number:,}</summary>{parts}</details>"


def _part(part: Part) -> str:
    who = f"{part.what}, {plural(part.stop - part.start, 'token')}"
    text = "".join(f"<mark>{shown(t)}</mark>" if is_control else shown(t) for t, is_control in part.pieces)
    # HTML drops a line break right after <pre>
    return f'<div class="said {part.kind}"><div class="who">{shown(who)}</div><pre>\n{text}</pre></div>'


def _table(audit: Audit, name: str) -> str:
    return f'<div class="scroll"><table>{_row("th", HEADS[name])}{_rows(rows_of(audit, name))}</table></div>'


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(_row("td", row) for row in rows)


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{shown(cell)}</{tag}>' for cell in cells)}</tr>"
