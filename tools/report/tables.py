"""The Markdown tables of a results file: other loaders, races with a baseline, single figures."""

import re

OURS, OURS_PACKED, RAN = "fastcollate", "fastcollate_packed", "tokens_per_second"
# What the tables show; the results file has everything.
RACES = re.compile(
    r"^(?!.*(very-long|gsm8k))(notebook: .*batch 32, |row loop: .*batch (8|32), |padded_collate|stream)"
    r"|bfd|^preparing.*gpt2"
)
FIGURES = re.compile(
    r"^(?!.*very-long)(padding, |collating ).*batch(es of)? 32\b(?!.*lower bound)"
    r"|^collating 8 x.*(short|long-tailed)|^(host time|bytes|host to device).*, short, padded to 32 rows"
    r"|^packing efficiency(, best_fit| beside)|^TRL's packing"
    r"|^training GPT-2 small on cuda, long-tailed, .*targets"
    r"|^planning, batch_size, 10\^[58]|^(first batch|restoring).*10\^7 records, [^,]*$"
)


ANY = re.compile("")


def peers(rows):
    """One line a peer, the fastest on the first corpus first: speeds there and, of each corpus, ours by theirs.

    Ratios, times and memory are the better of what a peer does with and without workers.
    """
    if not rows:
        return []
    kinds = list(dict.fromkeys(row["corpus"] for row in rows))
    head = ["M tokens/s", "with 2 workers", *(f"ours ÷ theirs, {kind}" for kind in kinds)]
    head = [f"{kinds[0]} records", *head, "first batch", "resume at 99 %", "peak memory"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    by_peer = {}
    for row in rows:
        by_peer.setdefault(row["peer"], []).append(row)
    ours = by_peer.get(OURS, [])
    for theirs in sorted(by_peer.values(), key=lambda theirs: -(best_rate(theirs, kinds[0]) or 0)):
        cells = peer_cells(theirs, ours, kinds)
        lines.append(f"| {' | '.join([title_of(theirs), *cells, *[''] * (len(head) - 1 - len(cells))])} |")
    return [*lines, ""]


def peer_cells(theirs, ours, kinds):
    """What a line of the peers' table says after the title; of a peer that never ran, why."""
    first = [row for row in theirs if row["corpus"] == kinds[0]]
    if best_rate(theirs, kinds[0]) is None:
        return [f"not run: {first[0].get('missing', 'no row') if first else 'no row'}".replace("|", "/")]
    speeds = [best_rate([row for row in first if row["workers"] == count], kinds[0]) for count in (0, 2)]
    ratios = [(best_rate(ours, kind), best_rate(theirs, kind)) for kind in kinds]
    return [
        *(f"{speed / 1e6:.3g}" if speed else "not run" for speed in speeds),
        *(times(mine / rate) if mine and rate else "not run" for mine, rate in ratios),
        duration(least(first, "first_batch_seconds")),
        duration(least(first, "resume_99_seconds")),
        memory(least(first, "peak_pss_megabytes")),
    ]


def best_rate(rows, kind):
    """Tokens a second on a corpus, with whatever workers are best; None if it never ran."""
    return max((row["tokens_per_second"] for row in rows if row["corpus"] == kind and RAN in row), default=None)


def times(ratio):
    """A ratio in three digits, or whole.

    >>> times(1.4689), times(142.6), times(1219.4)
    ('1.47', '143', '1,219')
    """
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


def least(rows, name):
    return min((row[name] for row in rows if row.get(name) is not None), default=None)


def title_of(rows):
    """A peer's title, with its version where it is one package's."""
    row = next((row for row in rows if RAN in row), {})
    version = row.get("version", "")
    return f"{row.get('title', rows[0]['peer'])} {'' if ',' in version else version}".strip()


def races(rows, shown=RACES):
    lines = ["| against | baseline, M tokens/s | fastcollate, M tokens/s | ratio |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['case']} | {row['baseline_tokens_per_second'] / 1e6:.2f} | {row['tokens_per_second'] / 1e6:.1f} "
        f"| {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) |"
        for row in rows
        if shown.search(row["case"])
    ]
    return [*lines, ""]


def figures(rows, shown=FIGURES):
    lines = ["| measured | | |", "|---|---:|---|"]
    lines += [f"| {row['case']} | {number(row)} | {unit(row)} |" for row in rows if shown.search(row["case"])]
    return [*lines, ""]


def setting(machine):
    """What the numbers were measured on, in a sentence."""
    versions = f"Python {machine['python']}, NumPy {machine['numpy']}, torch {machine['torch']}"
    refill = f"memory refilled at {machine['refill_gigabytes_per_second']:.0f} GB/s"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {refill}, {versions}; medians of {machine['rounds']} "
        "rounds, of a loader's speed of ten parts of five seconds."
    )


def number(row):
    """Three digits; of a percentage two decimals, so that 99.95 does not become 100."""
    if row["value"] is None:
        return "not run"
    return f"{row['value']:.2f}" if row["unit"] == "%" else f"{row['value']:.3g}"


def unit(row):
    """The unit, and the part of the physical limit that was reached."""
    return f"{row['unit']}, {row['share']:.0%} of {row['limit']}" if "limit" in row else row["unit"]


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
