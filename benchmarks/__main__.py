"""Run the benchmark suite and write what it measured to one file; it fails on wrong results, never on time."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.corpora import RECORDS, here, put_store
from benchmarks.harness.machine import cores, machine
from benchmarks.harness.processes import kill_tree

EPILOG = """\
example:
  python -m benchmarks                           # all of it: two hours
  python -m benchmarks --quick                   # fewer records, rounds and peers: under three minutes
  python -m benchmarks --topic collate --topic resume --results mine.json
  python -m tools.report mine.json --output report

Ctrl-C ends it; what was measured by then is written.
"""
HERE = Path(__file__).parent
KINDS = [*RECORDS, *here()]  # corpora of the peers
MEASURE = (sys.executable, "-m", "benchmarks.harness.measure")
PEERS = "peers"  # the topic of other people's loaders
QUICK_PEERS = {"memmap_vectorised", "hf_datasets", "fastcollate"}  # each takes twenty seconds
WORKERS, QUICK_WORKERS = (0, 2), (0,)
SECONDS, QUICK_SECONDS = 5, 1
ONSETS, QUICK_ONSETS = 3, 1  # processes that a first batch and a resume are medians of
PATIENCE = 2400  # seconds a peer may take in all, more than its parts may together
INTERRUPTED = 130
UNEQUAL = "AssertionError"
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def main(argv=None):
    """Measure; the exit code: 0, 1 (something was not equal, or cannot run), 2 (usage), 130 (Ctrl-C)."""
    args = parser().parse_args(argv)
    path = args.results or HERE / "results" / f"{file_name(args)}.json"
    if not path.parent.is_dir():
        print(f"benchmarks: {path.parent} is no directory: make it, or give --results another", file=sys.stderr)
        return 1
    results = {"rows": [], "figures": []}
    try:
        code, results = run_cases(args)
        if code != INTERRUPTED and PEERS in (args.topic or [PEERS]):
            results["peers"] = []
            if results["rows"] or results["figures"]:
                write(path, args, results)
            for _ in run_peers(args, results["peers"]):
                write(path, args, results)  # they take hours: whatever ends it, no row is lost
            if any(UNEQUAL in row.get("missing", "") for row in results["peers"]):
                code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    if not any(results.get(part) for part in ("rows", "figures", "peers")):
        print("benchmarks: nothing was measured, nothing is written", file=sys.stderr)
        return code or 1
    write(path, args, results)
    print(f"{'interrupted; what was measured is in' if code == INTERRUPTED else 'written to'} {path}")
    return code


def write(path, args, results):
    """The results file, whole at any moment."""
    if "machine" not in results:  # asked once: from then on this very file is a change to the repository
        results["machine"] = apart(machine, rounds=1, quick=args.quick)
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps({"machine": results["machine"], **results}, indent=1) + "\n")
    draft.replace(path)


def parser():
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    topics = sorted({PEERS, *(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))})
    kinds = f"of the peers' corpora only this one; may be given again (all: {', '.join(KINDS)})"
    made.add_argument("--corpus", action="append", choices=KINDS, metavar="KIND", help=kinds)
    counts = "worker processes that the peers have; may be given again (default: both)"
    made.add_argument("--workers", action="append", type=int, choices=WORKERS, help=counts)
    name = "the results file (default: benchmarks/results/DATE-MACHINE.json)"
    made.add_argument("--quick", action="store_true", help="fewer records and rounds: under three minutes")
    made.add_argument("--topic", action="append", choices=topics, help="only this one; may be given again")
    made.add_argument("--results", type=Path, metavar="FILE", help=name)
    made.add_argument(
        "--machine", default=machine_name(cores()), help="its name in that file's (default: %(default)s)"
    )
    return made


def machine_name(count):
    """How a machine is called in a file's name.

    >>> machine_name(1), machine_name(2), machine_name(64)
    ('one-core', 'two-cores', '64-cores')
    """
    return f"{WORDS[count] if count < len(WORDS) else count}-core{'' if count == 1 else 's'}"


def file_name(args):
    """Of a whole run the date and the machine; a part of one does not take its place."""
    parts = ["quick"] * args.quick + sorted({*(args.topic or []), *(args.corpus or [])})
    return "-".join([date.today().isoformat(), args.machine, *parts])  # noqa: DTZ011  # the day it is here


def run_cases(args):
    """(exit code, results) of the bench_ files: pytest runs them, a line each."""
    files = [str(path) for topic in args.topic or ["*"] for path in sorted(HERE.glob(f"bench_{topic}.py"))]
    if args.quick:  # what peers deliver of a whole epoch is a test of the suite, and measures nothing
        files = [path for path in files if not path.endswith(f"bench_{PEERS}.py")]
    if not files:
        return 0, {"rows": [], "figures": []}
    with TemporaryDirectory() as directory:
        found = Path(directory) / "results.json"
        options = ["--benchmark-enable", "--benchmark-quiet", "-vv", "--no-header", "--results", str(found)]
        options += [
            "-W",
            "ignore:Benchmark fixture was not used",
        ]  # a case that Ctrl-C ended before it was measured
        options += ["--timeout=0", "--override-ini=faulthandler_timeout=0"]  # a slow machine is no failure
        code = run_pytest([*files, *options, *(["--quick"] if args.quick else [])])
        results = json.loads(found.read_text()) if found.exists() else {"rows": [], "figures": []}
    return {0: 0, 2: INTERRUPTED}.get(code, 1), results


def run_pytest(words):
    """Its exit code. Ctrl-C is handed on to it once: it writes what it has, and ends."""
    process = subprocess.Popen([sys.executable, "-m", "pytest", *words], start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return process.wait()


def apart(function, *args, **keywords):
    """What `function` gives, in a process of its own.

    Memory that two processes share is counted by halves: what drives the peers must import nothing that they do.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **keywords).result()


def run_peers(args, found):
    """Append to `found` what each peer does with each corpus, or why it does not; a step for each.

    Each is measured in a process of its own.
    """
    names = sorted(path.stem for path in (HERE / "peers").glob("*.py") if path.stem != "__init__")
    if not names:
        return
    if args.quick:
        names = [name for name in names if name in QUICK_PEERS] or names
    kinds = args.corpus or KINDS[: 1 if args.quick else None]
    with TemporaryDirectory() as directory:
        for kind in kinds:
            home = Path(directory) / kind  # each peer's own files come beside the store
            home.mkdir()
            apart(put_store, home, kind, quick=args.quick)
            for name in names:
                for workers in args.workers or (QUICK_WORKERS if args.quick else WORKERS):
                    begun = time.perf_counter()
                    print(f"{name}, {kind}, {workers} workers ", end="", flush=True)
                    spent = (QUICK_SECONDS, QUICK_ONSETS) if args.quick else (SECONDS, ONSETS)
                    row = measure(name, home, workers, *spent)
                    found.append({**row, "peer": name, "workers": workers, "corpus": kind})
                    print(row.get("missing", f"{time.perf_counter() - begun:.1f} s"))
                    yield


def measure(name, home, workers, duration, onsets):
    """What `measure.py` prints about one peer, or `{"missing": reason}`."""
    command = [
        *MEASURE,
        name,
        str(home),
        "--workers",
        str(workers),
        "--seconds",
        str(duration),
        "--onsets",
        str(onsets),
    ]
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C comes here first
    )
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"missing": f"no result after {PATIENCE} s"}
    finally:
        kill_tree(process)
        process.communicate()
    if process.returncode:
        lines = err.strip().splitlines()
        return {"missing": lines[-1] if lines else f"it ended with code {process.returncode}"}
    try:
        return dict(json.loads(out[out.find("{") :]))
    except ValueError:
        return {"missing": "it printed no JSON object"}


if __name__ == "__main__":
    sys.exit(main())
