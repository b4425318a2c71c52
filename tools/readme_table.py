"""Write a results file of the benchmarks into the README's table.

python tools/readme_table.py benchmarks/results/FILE.json
"""

import json
import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
# What the front door shows; the results file has everything.
SHOWN = re.compile(r"batch 32|first batch|restoring|^planning, batch_size, 10\^[58]|pack|bfd")
MARKS = re.compile(r"(<!-- measured: (?P<path>\S+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def table(results):
    """The Markdown table of a results file: baseline, ours and their ratio, case by case."""
    machine = results["machine"]
    lines = ["| against | baseline, M tokens/s | fastcollate, M tokens/s | ratio |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['case']} | {row['baseline_tokens_per_second'] / 1e6:.2f} | {row['tokens_per_second'] / 1e6:.1f} "
        f"| {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f}) |"
        for row in results["rows"]
        if SHOWN.search(row["case"])
    ]
    figures = [row for row in results["figures"] if SHOWN.search(row["case"])]
    lines += ["", "| measured | | |", "|---|---:|---|"]
    lines += [f"| {row['case']} | {number(row)} | {row['unit']} |" for row in figures]
    versions = f"Python {machine['python']}, NumPy {machine['numpy']}, torch {machine['torch']}"
    refill = f"memory refilled at {machine['refill_gigabytes_per_second']:.0f} GB/s"
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, {refill}, {versions}; medians of {machine['rounds']} rounds."
    )
    lines += ["", setting]
    return "\n".join(lines) + "\n"


def number(row):
    """Three digits; of a percentage two decimals, so that 99.95 does not become 100."""
    return f"{row['value']:.2f}" if row["unit"] == "%" else f"{row['value']:.3g}"


def main(path):
    results = json.loads(Path(path).read_text())
    text = MARKS.sub(
        lambda found: f"<!-- measured: {path} -->\n{table(results)}{found.group(3)}", README.read_text()
    )
    README.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
