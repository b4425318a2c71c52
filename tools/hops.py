"""Count how often control moves between the package's files while one record is prepared, loaded and collated.

    python tools/hops.py [--functions] [--files]

One line a step: the files it touches, how often control moves from one file to another, and the deepest stack of
the package's own frames. Fewer moves are less to read for whoever follows a record. Python's profiler counts them.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fastcollate  # noqa: E402  # found by the line above

PACKAGE = str(Path(fastcollate.__file__).parent) + "/"
RECORDS = [
    {"instruction": "Add 1 and 2.", "output": "3"},
    {"instruction": "Add.", "input": "4 5", "output": "9"},
]
WIDTH = 34  # of a step's name


@dataclass
class Trace:
    """What ran while it was on: files and functions in the order of their first call."""

    files: list[str] = field(default_factory=list)
    functions: Counter[str] = field(default_factory=Counter)
    moves: int = 0
    deepest: int = 0
    stack: list[str] = field(default_factory=list)
    at: str = ""

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch this thread; what it called before it comes to an end unseen."""
        sys.setprofile(self.see)
        try:
            yield
        finally:
            sys.setprofile(None)

    def see(self, frame: FrameType, event: str, _: object) -> None:
        """Take one event of the profiler: frames of other packages are passed over, as are C functions."""
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return
        name = code.co_filename.removeprefix(PACKAGE)
        if event == "call":
            self.functions[f"{name}:{code.co_firstlineno} {code.co_qualname}"] += 1
            self.stack.append(name)
            self.deepest = max(self.deepest, len(self.stack))
            if name not in self.files:
                self.files.append(name)
            self.go_to(name)
        elif event == "return" and self.stack:
            self.stack.pop()
            if self.stack:
                self.go_to(self.stack[-1])

    def go_to(self, name: str) -> None:
        """Control is in the file `name` now: a move, if it was in another."""
        self.moves += bool(self.at) and self.at != name
        self.at = name


def main(argv: list[str] | None = None) -> int:
    """Print a line for each step."""
    args = parser().parse_args(argv)
    for name in fastcollate.__all__:
        getattr(fastcollate, name)  # imported here, so that no import is in a trace
    print(f"{'':{WIDTH}} {'files':>6} {'functions':>10} {'moves':>6} {'deepest stack':>14}")
    with tempfile.TemporaryDirectory() as directory:
        for name, trace in traces(Path(directory), args.encoding):
            counts = f"{len(trace.files):>6} {len(trace.functions):>10} {trace.moves:>6} {trace.deepest:>14}"
            print(f"{name:{WIDTH}} {counts}")
            if args.files:
                print(f"    {', '.join(trace.files)}")
            if args.functions:
                print(*(f"    {function} x {calls}" for function, calls in trace.functions.items()), sep="\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="hops.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--encoding", default="gpt2", metavar="NAME", help="of the tokens (default: gpt2)")
    made.add_argument("--files", action="store_true", help="name the files of each step, in order of first call")
    made.add_argument("--functions", action="store_true", help="name the functions of each step, and their calls")
    return made


def traces(directory: Path, encoding: str) -> Iterator[tuple[str, Trace]]:
    """By name, what each step of two records' journey runs; each takes what the steps before it made."""
    source, path = directory / "records.jsonl", directory / "store"
    source.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    pad = fastcollate.load_encoding(encoding).eot_token_id  # which reads the vocabulary: once a process
    trace, _ = watched(partial(fastcollate.prepare, source, path, encoding=encoding, workers=1))
    yield "prepare(file)", trace
    trace, store = watched(partial(fastcollate.TokenStore, path))
    yield "TokenStore(path)", trace
    trace, dataset = watched(partial(fastcollate.BucketedDataset, store, batch_size=2, seed=1))
    yield "BucketedDataset(store)", trace
    trace, collate = watched(partial(fastcollate.PaddingCollator, pad, supervise="response"))
    yield "PaddingCollator()", trace
    trace, loader = watched(partial(fastcollate.StreamLoader, dataset, collate))
    yield "StreamLoader(dataset, collate)", trace
    batches = iter(loader)
    trace, _ = watched(partial(next, batches))
    yield "first batch of the loader", trace
    trace, _ = watched(loader.state_dict)
    yield "state_dict() of the loader", trace
    trace, rows = watched(partial(next, iter(fastcollate.BucketedDataset(store, batch_size=2, seed=1))))
    yield "first rows of the dataset alone", trace
    trace, _ = watched(partial(collate, rows))
    yield "PaddingCollator of those rows", trace
    trace, packed = watched(partial(fastcollate.PackedDataset, store, length=256))
    yield "PackedDataset(store)", trace
    trace, packs = watched(partial(next, iter(packed)))
    yield "first packs of the dataset alone", trace
    trace, _ = watched(lambda: fastcollate.PackingCollator(pad)(packs))
    yield "a PackingCollator of those packs", trace
    trace, _ = watched(partial(fastcollate.padded_collate, [[1, 2], [3]]))
    yield "padded_collate(lists)", trace


def watched(step: Callable[[], Any]) -> tuple[Trace, Any]:
    """What a step ran, and what it returned."""
    trace = Trace()
    with trace.on():
        made = step()
    return trace, made


if __name__ == "__main__":
    sys.exit(main())
