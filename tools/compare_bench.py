"""Compare two results files of the benchmarks: what got worse or better beyond the noise of both."""

import argparse
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.report.results_file import load_results  # found by the line above

EPILOG = """\
A case has changed when the intervals from least to most of its rounds do not meet, and the medians differ by
more than the threshold. What was timed only once gets an interval of 25 % to either side; what was counted gets
none. Races are compared by the ratio to their baseline in the same run, which a slower machine leaves alone.
Times and rates must also differ by more than the machine did: by more than three quarters of the baselines and
physical limits whose code is not ours.

example:
  python tools/compare_bench.py benchmarks/results/2026-11-23-two-cores.json new.json
  python tools/compare_bench.py old.json new.json --threshold 5 --fail
"""
ONCE = 0.25  # how far a single timing may be off
COUNTED, IN_ONE_RUN, TIMED = "counted", "two times of one run, divided", "a time or a rate"
KINDS = {  # by unit, how a number came about; what is not here is taken as timed
    "%": COUNTED,
    "MB": COUNTED,
    "GiB": COUNTED,
    "bytes": COUNTED,
    "bytes a token": COUNTED,
    "bytes read per byte used": COUNTED,
    "requests": COUNTED,
    "copies": COUNTED,
    "of the cells": COUNTED,
    "x": IN_ONE_RUN,
    "times": IN_ONE_RUN,
    "s": TIMED,
    "ms": TIMED,
    "s a M tokens": TIMED,
    "us a batch": TIMED,
    "ns a record": TIMED,
    "MB/s": TIMED,
    "GB/s": TIMED,
    "% of the time": TIMED,
    "records/s": TIMED,
    "tokens/s": TIMED,
    "M tokens/s": TIMED,
    "k tokens a second": TIMED,
    "M records a second": TIMED,
}
WAITING = ": waiting"  # how cases end whose % is of the time, not of cells
RISING = ("/s", "a second")  # units of which more is better
FOREIGN = (  # how cases begin whose baseline runs no code of ours (a row loop takes its rows from a batch of ours)
    "notebook: ",
    "padded_collate on lists: ",
    "TRL's bfd",
    "preparing instructions, tiktoken alone: ",
)
MACHINE, VERSIONS = ("cpu", "cores", "gpu"), ("python", "numpy", "pyarrow", "torch", "tiktoken")
LIMIT = "limit: "  # how figures begin that are physical limits: none of our code either
PEER_MEASURES = {  # what is compared of each peer: what it is called, its unit
    "tokens_per_second": ("speed", "tokens/s"),
    "cpu_seconds_per_million_tokens": ("CPU time", "s a M tokens"),
    "padding": ("padding", "of the cells"),
    "p99_milliseconds": ("batch p99", "ms"),
    "first_batch_seconds": ("first batch", "s"),
    "resume_50_seconds": ("resume at 50 %", "s"),
    "resume_99_seconds": ("resume at 99 %", "s"),
    "peak_pss_megabytes": ("peak memory", "MB"),
}


@dataclass(frozen=True)
class Measured:
    """One number of a results file, with the least and the most of its rounds."""

    value: float
    low: float
    high: float
    unit: str
    kind: str  # one of COUNTED, IN_ONE_RUN and TIMED
    rising: bool  # more is better


@dataclass(frozen=True)
class Change:
    """A case in both files; `gain` is how many times better the second is."""

    case: str
    before: Measured
    after: Measured
    verdict: str

    @property
    def gain(self):
        """Above 1 is better, below 1 worse."""
        return gain(self.before, self.after)


def main(argv=None):
    """Print the comparison; the exit code: 0, 1 (a file cannot be read; or with --fail, something is worse)."""
    args = parser().parse_args(argv)
    try:
        before, after = (load_results(path) for path in (args.before, args.after))
    except OSError as error:
        print(f"compare_bench: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"compare_bench: {error}", file=sys.stderr)
        return 1
    for line in differences(before["machine"], after["machine"]):
        print(line)
    slack = drift(before, after)
    print(f"the machine itself: three quarters of what is not ours differ by at most {slack:.2f} times")
    changes, only = compare(before, after, args.threshold / 100, slack)
    print("\n".join(report(changes, only, (args.before, args.after))))
    return int(args.fail and any(change.verdict == "worse" for change in changes))


def parser():
    made = argparse.ArgumentParser(
        prog="compare_bench.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("before", type=Path, metavar="BEFORE.json")
    made.add_argument("after", type=Path, metavar="AFTER.json")
    made.add_argument(
        "--threshold",
        type=float,
        default=10,
        metavar="X",
        help="per cent that medians must differ by (default: 10)",
    )
    made.add_argument("--fail", action="store_true", help="exit with 1 if something got worse")
    return made


def differences(before, after):
    """A line for each thing that makes two runs incomparable."""
    for name in (*MACHINE, *VERSIONS):
        if name in before and name in after and before[name] != after[name]:
            yield f"note: {name} was {before[name]}, and is {after[name]}"
    if before.get("quick", False) != after.get("quick", False):
        yield "note: one of the runs was --quick, with fewer records: times and padding are of other corpora"
    for which, machine in (("first", before), ("second", after)):
        if machine.get("uncommitted_changes"):
            yield f"note: the {which} run had uncommitted changes: its commit does not say what was measured"


def measures(results):
    """By case, every number of a results file."""
    found = {}
    for row in results["rows"]:
        found[row["case"]] = measured(row, "ratio", "x", kind_of(row["case"], "x"), rising=True)
    for row in (figure for figure in results["figures"] if figure["value"] is not None):
        rising = row["unit"].endswith(RISING) or "efficiency" in row["case"]
        found[row["case"]] = measured(row, "value", row["unit"], kind_of(row["case"], row["unit"]), rising=rising)
    for row in results.get("peers", []):
        for name, (title, unit) in PEER_MEASURES.items():
            if row.get(name) is not None:
                case = f"{row['peer']}, {row['corpus']}, {row['workers']} workers: {title}"
                found[case] = measured(row, name, unit, kind_of(case, unit), rising=unit.endswith(RISING))
    return found


def kind_of(case, unit):
    """How the number of a case came about."""
    return IN_ONE_RUN if case.endswith(WAITING) else KINDS.get(unit, TIMED)


def measured(row, name, unit, kind, *, rising):
    value = row[name]
    slack = 0 if kind == COUNTED else ONCE * abs(value)
    low, high = row.get(f"{name}_min", value - slack), row.get(f"{name}_max", value + slack)
    return Measured(value, low, high, unit, kind, rising)


def gain(before, after):
    """How many times better `after` is: more of what should rise, less of what should not."""
    more, less = (after.value, before.value) if before.rising else (before.value, after.value)
    return 1.0 if more == less else more / less if less else float("inf")


def drift(before, after):
    """How many times faster or slower three quarters of the foreign code was at most: 1 where both share none.

    The quarter that changed most has no say: one noisy baseline would excuse whatever of ours got slower.
    """
    old, new = foreign_speeds(before), foreign_speeds(after)
    pairs = [(old[case], new[case]) for case in old if case in new]
    factors = sorted(max(pair) / min(pair) for pair in pairs)
    return factors[(3 * len(factors) - 1) // 4] if factors else 1.0


def foreign_speeds(results):
    """By case, the times and rates of a file that none of our code has a part in."""
    races = {row["case"]: row["baseline_tokens_per_second"] for row in results["rows"]}
    found = {case: speed for case, speed in races.items() if case.startswith(FOREIGN)}
    for row in results["figures"]:
        if row["case"].startswith(LIMIT) and row["value"] and kind_of(row["case"], row["unit"]) == TIMED:
            found[row["case"]] = row["value"]
    return found


def verdict(before, after, threshold, slack):
    """`"worse"`, `"better"` or `"same"`: slower or faster, or more or less memory or padding."""
    apart = after.low > before.high or after.high < before.low
    if not apart or abs(after.value - before.value) <= threshold * abs(before.value):
        return "same"
    times = gain(before, after)
    if before.kind == TIMED and 1 / slack <= times <= slack:
        return "same"
    return "better" if times > 1 else "worse"


def compare(before, after, threshold, slack):
    """(changes, only): the cases of both files, and for each file those that the other has not."""
    old, new = measures(before), measures(after)
    changes = [
        Change(case, old[case], new[case], verdict(old[case], new[case], threshold, slack))
        for case in old
        if case in new
    ]
    return changes, ([case for case in old if case not in new], [case for case in new if case not in old])


def report(changes, only, paths):
    """The lines to print: what changed, worst first, and what cannot be compared."""
    changed = sorted((change for change in changes if change.verdict != "same"), key=lambda change: change.gain)
    cells = [("", "before", "after", "", "times better", "case")]
    cells += [
        (c.verdict, number(c.before), number(c.after), c.before.unit, f"{c.gain:.2f}", c.case) for c in changed
    ]
    lines = aligned(cells) if changed else []
    counts = {word: sum(change.verdict == word for change in changes) for word in ("worse", "better", "same")}
    lines.append(f"{counts['worse']} worse, {counts['better']} better, {counts['same']} the same within the noise")
    for path, cases in zip(paths, only, strict=True):
        lines += [f"only in {path}: {case}" for case in cases]
    return lines


def number(measured):
    """A value and its interval, four digits each."""
    return f"{measured.value:.4g} ({measured.low:.4g} to {measured.high:.4g})"


def aligned(cells):
    """Lines of columns under each other: the second and the third to the right, the others to the left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = "<>><<<"
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in cells
    ]


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    sys.exit(main())
