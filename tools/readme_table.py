"""A results file as the README's tables; `tools/report.py FILE.json --readme` writes them."""

import re

OURS = "fastcollate"
# What the front door shows; the results file has everything.
RACES = re.compile(
    r"^(?!.*(very-long|gsm8k))((notebook|row loop): .*batch 32, |padded_collate|stream)|bfd|^preparing.*gpt2"
)
FIGURES = re.compile(
    r"^(?!.*very-long)(padding, |collating ).*batch(es of)? 32\b(?!.*lower bound)"
    r"|^collating 8 x.*(short|long-tailed)|^(host time|bytes|host to device).*, short, padded to 32 rows"
    r"|^packing efficiency, best_fit|^TRL's packing"
    r"|^planning, batch_size, 10\^[58]|^(first batch|restoring).*10\^7 records, [^,]*$"
)
MARKS = re.compile(r"(<!-- measured: (?P<path>\S+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def written(readme, results, path):
    """The README with the tables of `results`, which lie at `path`, in their place."""
    return MARKS.sub(lambda found: f"<!-- measured: {path} -->\n{table(results)}{found.group(3)}", readme)


def table(results):
    """The Markdown tables of a results file: peers if there are any, races with a baseline, and single figures."""
    lines = [*peers(results.get("peers", [])), *races(results["rows"]), *figures(results["figures"])]
    return "\n".join([*lines, setting(results["machine"])]) + "\n"


def peers(rows):
    """One line a peer on the first corpus of the file, with the number of workers it is fastest with."""
    if not rows:
        return []
    corpus = rows[0]["corpus"]
    best = fastest(row for row in rows if row["corpus"] == corpus)
    ours = best.get(OURS, {}).get("tokens_per_second")
    head = f"| {corpus} records | M tokens/s | ours ÷ theirs | first batch | resume at 99 % | peak memory |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for name, row in best.items():
        title = f"{row.get('title', name)} {(row.get('version') or '').split(',')[0]}".strip()
        if "missing" in row:
            lines.append(f"| {title} | not run: {row['missing'].replace('|', '/')} | | | | |")
            continue
        rate = row["tokens_per_second"]
        lines.append(
            f"| {title}, {workers(row)} | {rate / 1e6:.3g} | {f'{ours / rate:.3g}' if ours else 'not run'} "
            f"| {duration(row.get('first_batch_seconds'))} | {duration(row.get('resume_99_seconds'))} "
            f"| {memory(row.get('peak_pss_megabytes'))} |"
        )
    return [*lines, ""]


def fastest(rows):
    """By peer, its best row, the fastest peer first; a peer that never ran has a row that says why."""
    best = {}
    for row in sorted(rows, key=lambda row: -row.get("tokens_per_second", 0)):
        best.setdefault(row["peer"], row)
    return best


def races(rows):
    lines = ["| against | baseline, M tokens/s | fastcollate, M tokens/s | ratio |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['case']} | {row['baseline_tokens_per_second'] / 1e6:.2f} | {row['tokens_per_second'] / 1e6:.1f} "
        f"| {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) |"
        for row in rows
        if RACES.search(row["case"])
    ]
    return [*lines, ""]


def figures(rows):
    lines = ["| measured | | |", "|---|---:|---|"]
    lines += [f"| {row['case']} | {number(row)} | {unit(row)} |" for row in rows if FIGURES.search(row["case"])]
    return [*lines, ""]


def setting(machine):
    """What the numbers were measured on, in a sentence."""
    versions = f"Python {machine['python']}, NumPy {machine['numpy']}, torch {machine['torch']}"
    refill = f"memory refilled at {machine['refill_gigabytes_per_second']:.0f} GB/s"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {refill}, {versions}; medians of {machine['rounds']} rounds."
    )


def number(row):
    """Three digits; of a percentage two decimals, so that 99.95 does not become 100."""
    if row["value"] is None:
        return "not run"
    return f"{row['value']:.2f}" if row["unit"] == "%" else f"{row['value']:.3g}"


def unit(row):
    """The unit, and the part of the physical limit that was reached."""
    return f"{row['unit']}, {row['share']:.0%} of {row['limit']}" if "limit" in row else row["unit"]


def workers(row):
    """How many processes it had to help it."""
    return f"{row['workers']} worker{'' if row['workers'] == 1 else 's'}"


def duration(seconds):
    """Seconds in a unit people read.

    >>> duration(0.01234), duration(12.345), duration(None)
    ('12.3 ms', '12.3 s', 'not measured')
    """
    if seconds is None:
        return "not measured"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def memory(megabytes):
    """Megabytes, whole; or that nobody looked."""
    return "not measured" if megabytes is None else f"{megabytes:,.0f} MB"
