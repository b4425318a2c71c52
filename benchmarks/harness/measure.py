"""Measure one peer, each part in a fresh process, and print one JSON object (Linux: it reads /proc).

    python -m benchmarks.harness.measure PEER DIRECTORY --workers 2 --seconds 5

DIRECTORY has a `store`; the peer's own files are written beside it, once, and its first batches compared with the
store's records. Whatever a first batch imports is imported before any clock starts, in all but worker processes.
What is timed is what the consumer waits: for each batch, from asking for it to having it. Between two batches the
consumer counts the tokens, the same way for every peer. When an epoch ends a new loader is made for the next one;
neither that nor the counting is in any wait or in the CPU time, but the wait for an epoch's first batch is. The
first batch of all is reported apart: it and resuming are medians of three fresh processes, of one where that is
slow or has workers. Memory is sampled from outside, in another and shorter run, for a process stands still while
it is sampled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import packages_distributions, version
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.harness.peer_row import PARTS, as_row
from benchmarks.harness.processes import kill_tree, tree_cpu_seconds, tree_pss_bytes
from benchmarks.peers import load_peer, start_after

COMMAND = (
    sys.executable,
    "-m",
    "benchmarks.harness.measure",
)  # the repository is here, or on the path
PAD = 256
SLICES = 10
LONGER = {"write": 10, "resume": 3}  # files are written once; some run up to a checkpoint, twice
MARK = "measured "  # libraries print too
CHECKED = 20  # batches
PATIENCE = 8  # seconds, imports included: what takes longer to begin is measured once


def main():
    arguments = parse_arguments()
    if arguments.phase:
        PHASES[arguments.phase](arguments)
    else:
        print(json.dumps(measure(arguments), indent=1))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="of waiting for batches, after the first")
    parser.add_argument(
        "--onsets", type=int, default=3, help="processes that a first batch and a resume are medians of"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--limit", type=float, default=90, help="seconds any one part may take besides")
    parser.add_argument("--phase", choices=[*PHASES], help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments):
    """All that is reported of a peer; a part that failed or took too long is null, with a note why."""
    found = run_phase(arguments, "write")
    facts = {"peer": arguments.peer, "workers": arguments.workers, "batch_size": arguments.batch_size}
    facts["load_average"] = os.getloadavg()[0]  # a busy machine explains a slow peer
    if "title" in found:
        modules_file(arguments).write_text("[]")
        imported = run_phase(arguments, "first").get("modules", [])
        modules_file(arguments).write_text(json.dumps(imported))
        found |= run_phase(arguments, "stream") | run_phase(arguments, "memory")
        found |= onset(arguments, "first") | onset(arguments, "resume")
    return facts | as_row(found)


def onset(arguments, phase):
    """Seconds to a first batch: medians of fresh processes, or of one where it is slow, fails or has workers."""
    begun = time.monotonic()
    runs = [run_phase(arguments, phase)]
    if (
        arguments.workers == 0
        and time.monotonic() - begun < PATIENCE
        and not any(name.startswith("note on") for name in runs[0])
    ):
        runs += [run_phase(arguments, phase) for _ in range(arguments.onsets - 1)]
    medians = {
        name: statistics.median(run[name] for run in runs if name in run)
        for name, value in runs[0].items()
        if isinstance(value, float)
    }
    return runs[0] | medians


def run_phase(arguments, phase):
    """What a part reported, in a process of its own, stopped when it takes too long."""
    command = [*COMMAND, arguments.peer, str(arguments.directory), "--phase", phase]
    for name in ("workers", "seconds", "batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    limit = (arguments.limit + arguments.seconds) * LONGER.get(phase, 1)
    peak, deadline = 0, time.monotonic() + limit
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                if phase == "memory":
                    peak = max(peak, tree_pss_bytes(process.pid))
            late = process.poll() is None
        finally:
            kill_tree(process)
        output.seek(0)
        errors.seek(0)
        lines = [json.loads(line.removeprefix(MARK)) for line in output if line.startswith(MARK)]
        found = {name: value for line in lines for name, value in line.items()}
        if late:
            doing = found.get("resuming", phase)
            found[f"note on {phase}"] = f"stopped after {limit:.0f} s: {doing}"
        elif process.returncode:
            found[f"note on {phase}"] = errors.read().strip().split("\n")[-1][-300:]
    if phase == "memory":
        notes = {name: note for name, note in found.items() if name.startswith("note on")}
        return {"peak_pss_bytes": peak or None, **notes}
    return found


def report(**facts):
    print(MARK + json.dumps(facts), flush=True)


def write_files(arguments):
    """Convert the store for the peer, unless that was done before, and say what the peer is."""
    peer = import_or_stop(arguments.peer)
    from fastcollate import TokenStore  # noqa: PLC0415  # where a peer is missing nothing is needed

    store = TokenStore(arguments.directory / "store")
    target = arguments.directory / arguments.peer
    if not target.exists():
        unfinished = target.with_suffix(f".{os.getpid()}")
        peer.write(store, unfinished)
        unfinished.rename(target)
    check_first_batches(arguments, peer, store)
    homes = packages_distributions()
    report(
        title=peer.TITLE,
        resume=peer.RESUME,
        notes=peer.NOTES,
        versions={name: version(homes[name][0]) for name in peer.REQUIRES},
        records=len(store),
    )


def check_first_batches(arguments, peer, store):
    from benchmarks.harness.delivered import check_delivered  # noqa: PLC0415  # it needs torch

    _, loader, _, _ = prepared(arguments)
    longest = getattr(peer, "LENGTH", None)
    check_delivered(islice(loader(seed=0), CHECKED), store, pad_token_id=PAD, longest=longest)


def modules_file(arguments):
    return arguments.directory / f"{arguments.peer}.modules.json"


def import_or_stop(name):
    try:
        return load_peer(name)
    except Exception as error:  # noqa: BLE001  # whatever stops a peer's import is what is reported
        report(missing=f"{type(error).__name__}: {error}"[:300])
        sys.exit(0)


def prepared(arguments):
    """(the peer, its loader but for seed and start, its directory and keyword arguments)."""
    peer, directory = load_peer(arguments.peer), arguments.directory / arguments.peer
    names = modules_file(arguments)
    for name in json.loads(names.read_text()) if names.exists() else []:
        with suppress(Exception):  # some of what was imported cannot be by its name
            import_module(name)
    keywords = {"batch_size": arguments.batch_size, "pad_token_id": PAD, "num_workers": arguments.workers}
    return peer, partial(peer.loader, directory, **keywords), directory, keywords


def first(arguments):
    """Seconds from nothing but imports to the first batch, and what was imported nevertheless."""
    _, loader, _, _ = prepared(arguments)
    known = set(sys.modules)
    begun = time.perf_counter()
    next(iter(loader(seed=0)))
    took = time.perf_counter() - begun
    modules = sorted(name for name in set(sys.modules) - known if not name.startswith("__"))
    report(first_batch_seconds=took, modules=modules)


def stream(arguments):
    """Wait for batches for some seconds, over as many epochs as it takes."""
    _, loader, _, _ = prepared(arguments)
    source = iter(loader(seed=0))
    next(source)
    waits, tokens, cells, epochs, waited, aside = [], [], [], 1, 0.0, 0.0
    cpu = tree_cpu_seconds()
    seconds = arguments.seconds / 2 if arguments.phase == "memory" else arguments.seconds
    while waited < seconds:
        begun = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            before = time.process_time()
            following, epochs = loader(seed=epochs), epochs + 1
            aside += time.process_time() - before
            begun = time.perf_counter()
            source = iter(following)
            batch = next(source)
        waits.append(time.perf_counter() - begun)
        counted = time.thread_time()
        waited += waits[-1]
        tokens.append(count_tokens(batch))
        cells.append(batch["input_ids"].numel())
        aside += time.thread_time() - counted
    spent = tree_cpu_seconds() - cpu - aside
    report(**summarise(np.array(waits), np.array(tokens), sum(cells), spent))


def count_tokens(batch):
    """By NumPy, in this thread: torch would use several, whose time is no consumer's."""
    if "attention_mask" in batch:
        return int(np.count_nonzero(batch["attention_mask"].numpy()))
    if "document_ids" in batch:
        return int(np.count_nonzero(batch["document_ids"].numpy() >= 0))
    return batch["input_ids"].numel()


def summarise(waits, tokens, cells, cpu):
    """Slices of equal waiting time: a batch counts for the slice in which its wait ended."""
    ends = np.cumsum(waits)
    slices = np.minimum((ends / ends[-1] * SLICES).astype(int), SLICES - 1)
    rates = [tokens[slices == i].sum() / waits[slices == i].sum() for i in range(SLICES) if (slices == i).any()]
    total = int(tokens.sum())
    return {
        "tokens_per_second": {"median": np.median(rates), "min": min(rates), "max": max(rates)},
        "cpu_seconds_per_million_tokens": cpu / total * 1e6,
        "padding_fraction": 1 - total / cells,
        "batch_seconds": dict(
            zip(("p50", "p99", "max"), np.quantile(waits, [0.5, 0.99, 1]).tolist(), strict=True)
        ),
        "batches": len(waits),
        "tokens": total,
    }


def resume(arguments):
    """Seconds from a fresh loader to its first batch, in the middle and near the end of an epoch."""
    peer, loader, directory, keywords = prepared(arguments)
    epoch = epoch_batches(loader(seed=0), arguments)
    for part in PARTS:
        report(resuming=f"the run up to the checkpoint at {part}")
        start = start_after(peer, directory, int(epoch * part), seed=0, **keywords)
        report(resuming=f"resuming at {part}")
        begun = time.perf_counter()
        next(iter(loader(seed=0, start=start)))
        report(**{f"resume {part}": time.perf_counter() - begun})


def epoch_batches(batches, arguments):
    try:
        return len(batches)
    except TypeError:  # an iterator
        from fastcollate import TokenStore  # noqa: PLC0415

        return -(-len(TokenStore(arguments.directory / "store")) // arguments.batch_size)


PHASES = {"write": write_files, "stream": stream, "first": first, "resume": resume, "memory": stream}

if __name__ == "__main__":
    main()
