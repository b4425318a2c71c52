"""A results file as one HTML page, with its pictures inside and every number in a table."""

import html

from tools.report.tables import duration, memory, number, unit

TOPICS = (
    "collate",
    "loader",
    "plan",
    "pack",
    "balance",
    "prepare",
    "workers",
    "merge",
    "audit",
    "transfer",
    "resume",
    "scale",
    "limits",
    "train",
    "beyond_memory",
    "object_storage",
    "foreign",
    "trainers",
    "cluster",
)
UNNAMED = "all topics"  # of a file from before its rows named theirs
LOOK = """\
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: #1f2933;
       background: #fff }
h1, h2, h3 { line-height: 1.2; margin: 2.2rem 0 .6rem }
h1 { margin-top: 0 }
figure { margin: 0; overflow-x: auto }
figure svg { max-width: 100%; height: auto }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1.5rem; font-size: 13px }
dt { color: #6b7280 }
dd { margin: 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #e5e7eb; text-align: left; vertical-align: top }
td:nth-child(2) { white-space: nowrap }
td.n, th.n { text-align: right }
td.n { white-space: nowrap }
.absent { color: #6b7280; font-style: italic }
"""


def page(results, name, drawn):
    """The HTML page; `drawn` are (title, SVG) of its pictures, or (title, None)."""
    parts = [
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>fastcollate: {html.escape(name)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>\n{LOOK}</style>',
        f"<h1>fastcollate, measured: {html.escape(name)}</h1>",
        facts(results),
        *(picture(title, svg) for title, svg in drawn),
        "<h2>Every number</h2>",
        "<h3>Other loaders</h3>",
        peers_table(results.get("peers", [])),
        *(topic_tables(results, topic) for topic in topics_of(results)),
    ]
    return "\n".join(parts) + "\n</html>\n"


def facts(results):
    """The machine and the versions, and what was left out."""
    cells = [(key.replace("_", " "), fact(value)) for key, value in results["machine"].items()]
    found = topics_of(results)
    missing = [] if UNNAMED in found else [topic for topic in TOPICS if topic not in found]
    missing += [] if results.get("peers") else ["other loaders"]
    said = f'<p class="absent">Not run in this file: {", ".join(missing)}.</p>' if missing else ""
    return (
        said
        + "<dl>"
        + "".join(f"<dt>{html.escape(key)}<dd>{html.escape(value)}" for key, value in cells)
        + "</dl>"
    )


def fact(value):
    """A value of the machine as a person says it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def picture(title, svg):
    """A heading and the picture, or that there is none."""
    heading = f"<h2>{html.escape(title)}</h2>"
    if svg is None:
        return f'{heading}\n<p class="absent">Not run: this file has no numbers for it.</p>'
    drawing = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
    return f"{heading}\n<figure>{drawing}</figure>"


def topics_of(results):
    """The topics in a file; one from before there were topics has none."""
    rows = [*results["rows"], *results["figures"]]
    return list(dict.fromkeys(row.get("topic", UNNAMED) for row in rows))


def topic_tables(results, topic):
    """The races and the figures of one topic."""
    rows, figures = (
        [row for row in results[part] if row.get("topic", UNNAMED) == topic] for part in ("rows", "figures")
    )
    parts = [f"<h3>{html.escape(topic)}</h3>"]
    if rows:
        head = ["against", "baseline, M tokens/s", "fastcollate, M tokens/s", "ratio", "least to most"]
        parts.append(rows_of(head, map(race_cells, rows)))
    if figures:
        parts.append(rows_of(["measured", "value", "unit", "least to most"], map(figure_cells, figures)))
    return "\n".join(parts)


def race_cells(row):
    rates = [f"{row[name] / 1e6:.2f}" for name in ("baseline_tokens_per_second", "tokens_per_second")]
    return [row["case"], *rates, f"{row['ratio']:.2f}", f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"]


def figure_cells(row):
    if row["value"] is None:
        return [row["case"], "not run", row["unit"], ""]
    extremes = f"{row['value_min']:.3g} to {row['value_max']:.3g}" if "value_min" in row else "measured once"
    return [row["case"], number(row), unit(row), extremes]


def peers_table(rows):
    """Everything about each peer; what was not run says why."""
    if not rows:
        return '<p class="absent">Not run in this file.</p>'
    head = ["loader", "corpus", "workers", "M tokens/s", "CPU s a M tokens", "padding", "first batch"]
    head += ["resume at 50 %", "at 99 %", "memory", "batch p50", "batch p99", "note"]
    titles = {row["peer"]: row["title"] for row in rows if "title" in row}
    return rows_of(head, (peer_cells({"title": titles.get(row["peer"], row["peer"]), **row}) for row in rows))


def peer_cells(row):
    title = f"{row['title']} {row.get('version') or ''}".strip()
    where = [title, row["corpus"], str(row["workers"])]
    if "missing" in row:
        return [*where, "not run", *[""] * 8, row["missing"]]
    thousandth = [row.get(f"{name}_milliseconds") for name in ("p50", "p99")]
    return [
        *where,
        known(row.get("tokens_per_second"), lambda rate: f"{rate / 1e6:.3g}"),
        known(row.get("cpu_seconds_per_million_tokens"), lambda value: f"{value:.3g}"),
        known(row.get("padding"), lambda part: f"{part:.1%}"),
        *(duration(row.get(f"{name}_seconds")) for name in ("first_batch", "resume_50", "resume_99")),
        memory(row.get("peak_pss_megabytes")),
        *(duration(None if value is None else value / 1e3) for value in thousandth),
        row.get("note") or "",
    ]


def known(value, form):
    return "not measured" if value is None else form(value)


def rows_of(head, rows):
    """An HTML table; numbers stand to the right, and what says that something is absent is grey."""
    rows = list(rows)
    columns = [any(row[i][:1].isdigit() for row in rows) for i in range(len(head))]
    heads = (
        f"<th{' class=n' * right}>{html.escape(cell)}</th>" for cell, right in zip(head, columns, strict=True)
    )
    lines = [f"<tr>{''.join(heads)}</tr>", *(f"<tr>{''.join(map(cell_of, row))}</tr>" for row in rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def cell_of(text):
    kind = ' class="absent"' if text.startswith("not ") else ' class="n"' if text[:1].isdigit() else ""
    return f"<td{kind}>{html.escape(text)}</td>"
