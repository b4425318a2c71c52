"""What people read of a results file in Markdown: five figures in the README, and every table beside the file."""

import re

from tools.report.results_file import load_results
from tools.report.tables import (
    ANY,
    OURS,
    OURS_PACKED,
    best_rate,
    duration,
    figures,
    least,
    memory,
    number,
    peers,
    races,
    setting,
    title_of,
)

MARKS = re.compile(r"(<!-- measured: (?P<path>\S+) -->\n).*?(<!-- /measured -->)", re.DOTALL)
KIND = "short"  # the records that both documents speak of
RIVALS = ("pad_sequence", "hf_datasets")  # whom the README names
MEMORY_MAP, AIM = "memmap_vectorised", 2  # the strongest rival, and how many times as fast we want to be
TITLES = {  # of the pictures, in their order
    "peers-tokens": "Tokens a second, padding not counted",
    "peers-first-batch": "From nothing to the first batch",
    "peers-resume": "From a state at 99 % of an epoch to its next batch",
    "peers-memory": "Peak memory of all processes",
    "ratios": "Speed beside a baseline in the same run",
    "limits": "How near the hot paths come to physical limits",
    "records": "What grows with the number of records, and what does not",
    "padding": "Padding against batch size",
    "resume": "Time to the next batch, against the position in the epoch",
}
HOW = """\
Each loader is set up as its own documentation says. What it delivers is compared with the store. Each row shows
the better of what a loader does with and without worker processes. All files lie in the page cache, and padding
is never counted as a token.

`python -m benchmarks` repeats the measurement, `python -m benchmarks --quick` a part of it in three minutes.
`python -m tools.report FILE.json` makes one HTML page of a file, with every number in it, and
`python tools/compare_bench.py OLD.json NEW.json` tells a change from noise.
"""
NO_GPU = "\nNo GPU was there: copies to one, and training on one, were not run."


def front_door(readme, results, path):
    """Return the README with the five figures of `results`, which lie at `path`, in their place."""
    return MARKS.sub(lambda found: f"<!-- measured: {path} -->\n{five(results)}{found.group(3)}", readme)


def five(results):
    """Return the README's table: five figures of short records, and beside each what there is without us."""
    by_peer = peers_of(results)
    ours = by_peer.get(OURS, [])
    cases = {row["case"]: row for row in results["figures"]}
    packs = "packing efficiency"
    lines = [
        ("tokens a second", millions(ours), rivals(by_peer)),
        (
            "resuming at 99 % of an epoch",
            duration(least(ours, "resume_99_seconds")),
            waits(by_peer),
        ),
        (
            "padding in batches of 32 rows",
            known(cases, f"padding, {KIND}, batch 32: plan", "%"),
            known(cases, f"padding, {KIND}, batch 32: plain loop", "% with shuffled rows"),
        ),
        (
            "tokens in packs of 2,048",
            known(cases, f"{packs}, best_fit, {KIND}, length 2048", "%"),
            packed_by_trl(cases, f"TRL's {packs}, bfd, {KIND}"),
        ),
        (
            "copied to a GPU for each token",
            known(cases, f"bytes a real token, ragged, {KIND}, padded to 32 rows", "bytes"),
            known(cases, f"bytes a real token, padded, {KIND}, padded to 32 rows", "bytes with padded tensors"),
        ),
    ]
    head = [f"| {KIND} records | fastcollate | without it |", "|---|---:|---|"]
    table = [*head, *(f"| {' | '.join(line)} |" for line in lines)]
    return "\n".join([*table, "", measured_on(results["machine"])]) + "\n"


def measured_on(machine):
    """Return the machine in a sentence, and what it could not measure in another."""
    gpu = machine.get("gpu")
    rest = f" and a GPU ({gpu})." if gpu else f". {NO_GPU.strip()}"
    return f"Measured with {machine['cores']} cores ({machine['cpu']}){rest}"


def packed_by_trl(cases, case):
    """Return how full TRL's packs are, and how full if TRL packs as many records at once as we do."""
    larger = f"{case}, 65,536 records at once"
    said = known(cases, case, "% with TRL")
    return f"{said}; {known(cases, larger, '% if it packs 65,536 records at once')}" if larger in cases else said


def peers_of(results):
    """Return the rows of each loader on the records that the documents speak of."""
    found = {}
    for row in results.get("peers", []):
        if row["corpus"] == KIND:
            found.setdefault(row["peer"], []).append(row)
    return found


def millions(rows):
    rate = best_rate(rows, KIND)
    return f"{rate / 1e6:.3g} million" if rate else "not run"


def rivals(by_peer):
    named = [rows for rows in map(by_peer.get, RIVALS) if rows]
    return "; ".join(f"{millions(rows)} with {title_of(rows)}" for rows in named) or "not run"


def waits(by_peer):
    """Return from when to when other loaders resume."""
    found = sorted(others(by_peer, "resume_99_seconds"))
    return f"{duration(found[0])} to {duration(found[-1])} with other loaders" if found else "not run"


def others(by_peer, key):
    """Return what each loader but ours needs of `key`, where it was measured."""
    found = [least(rows, key) for name, rows in by_peer.items() if name not in {OURS, OURS_PACKED}]
    return [value for value in found if value is not None]


def known(cases, case, words):
    """Return a figure in words, or that nobody measured it."""
    value = number(cases[case]) if case in cases else "not run"
    return value if value == "not run" else f"{value} {words}"


def results_page(results, path):
    """Return the README of the folder in which the results file `path` lies: its tables, in words and pictures."""
    written = f"`python -m tools.report benchmarks/results/{path.name} --readmes` writes this page from"
    parts = [
        "# What was measured\n",
        f"{written}\n[{path.name}]({path.name}).\n",
        HOW,
        f"{setting(results['machine'])}{NO_GPU * (not results['machine'].get('gpu'))}\n",
        *shortfalls(results),
        "## Other loaders\n",
        *peers(results.get("peers", [])),
        "## Races with a baseline in the same run\n",
        *races(results["rows"]),
        "## Single figures\n",
        *figures(results["figures"]),
        *parts_since(path),
        *pictures(path),
    ]
    return "\n".join(parts).rstrip() + "\n"


def parts_since(path):
    """Return the tables of files beside `path` with a later name: topics that were measured again, or are new."""
    lines = []
    for later in sorted(path.parent.glob("*.json")):
        if later.name > path.name:
            results = load_results(later)
            lines += [f"## Measured since: [{later.name}]({later.name})\n", f"{setting(results['machine'])}\n"]
            lines += races(results["rows"], ANY) if results["rows"] else []
            lines += figures(results["figures"], ANY) if results["figures"] else []
    return lines


def shortfalls(results):
    """Return in sentences where another loader or a baseline is ahead of us, or nearer than our aim is."""
    by_peer = peers_of(results)
    lines = [
        *behind_the_aim(by_peer),
        *behind_others(by_peer, "first_batch_seconds", "The first batch comes sooner", duration),
        *behind_others(by_peer, "resume_99_seconds", "Resuming at 99 % of an epoch is quicker", duration),
        *behind_others(by_peer, "peak_pss_megabytes", "Peak memory is less", memory),
        *behind_baselines(results["rows"]),
    ]
    return ["On short records this is not reached yet:\n", *lines, ""] if lines else []


def behind_the_aim(by_peer):
    mine, rival = (best_rate(by_peer.get(name, []), KIND) for name in (OURS, MEMORY_MAP))
    if mine and rival and mine < AIM * rival:
        times = f"{mine / rival:.3g} times as fast as a memory map whose batches our collator pads"
        yield f"- fastcollate is {times}. The aim is {AIM} times."


def behind_others(by_peer, key, words, say):
    mine = least(by_peer.get(OURS, []), key)
    ahead = sorted(value for value in others(by_peer, key) if mine is not None and value < mine)
    if ahead:
        values = " to ".join(dict.fromkeys(map(say, (ahead[0], ahead[-1]))))
        yield f"- {words} with {len(ahead)} of the other loaders: {values}, with fastcollate {say(mine)}."


def behind_baselines(rows):
    for row in rows:
        if row["ratio"] < 1 and re.match(rf"(row loop|notebook|padded_collate).*\b{KIND}\b", row["case"]):
            yield f"- The baseline of “{row['case']}” is faster: the ratio is {row['ratio']:.2f}."


def pictures(path):
    """Return a line for each picture of a report that lies beside the results file."""
    folder = path.with_suffix("")
    found = [name for name in TITLES if (folder / f"{name}.png").exists()]
    return (
        ["## Pictures\n", *(f"![{TITLES[name]}]({folder.name}/{name}.png)\n" for name in found)] if found else []
    )
