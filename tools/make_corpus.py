"""Make a synthetic corpus, the same wherever NumPy is of one version, as a store that `TokenStore` opens."""

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness.corpora import DISTRIBUTIONS, bytes_on_disk, make_store  # noqa: E402  # found by the line above
from fastcollate import FastCollateError  # noqa: E402
from fastcollate.errors import plural  # noqa: E402
from fastcollate.reports.text import file_size, progress  # noqa: E402

KINDS = [f"  {kind:12} mu {mu}, sigma {sigma}, longest {n:,}" for kind, (mu, sigma, n) in DISTRIBUTIONS.items()]
EPILOG = f"""\
kinds, by their lengths in tokens, clip(lognormal(mu, sigma), 8, longest):
{chr(10).join(KINDS)}

example:
  python tools/make_corpus.py short 1000000 corpora/short-1M
  python tools/make_corpus.py very-long 10000 corpora/very-long-10k --seed 1 --layout npy
"""


def main(argv=None):
    """Make one store; the exit code: 0, 1 (an error, in one line) or 130 (Ctrl-C)."""
    args = parser().parse_args(argv)
    try:
        check(args)
        with progress("records") as report:
            store = make_store(
                args.directory, args.kind, args.records, args.seed, layout=args.layout, progress=report
            )
    except FastCollateError as error:
        print(f"make_corpus: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make_corpus: interrupted; no store is left behind", file=sys.stderr)
        return 130
    size = sum(path.stat().st_size for path in args.directory.iterdir())
    print(f"{args.directory}: {plural(len(store), 'record')}, {store.num_tokens:,} tokens, {file_size(size)}")
    return 0


def parser():
    made = argparse.ArgumentParser(
        prog="make_corpus.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("kind", choices=list(DISTRIBUTIONS), help="how long records are (below)")
    made.add_argument("records", type=int, metavar="RECORDS", help="how many: 10000 to 100000000 are of use")
    made.add_argument("directory", type=Path, metavar="DIR", help="the directory to make")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another corpus (default: 0)")
    made.add_argument("--layout", choices=["arrow", "npy"], default="arrow", help="of the files (default: arrow)")
    return made


def check(args):
    """Refuse at once what would fail after an hour."""
    for name, value, least in (("RECORDS", args.records, 1), ("--seed", args.seed, 0)):
        if value < least:
            raise FastCollateError(f"{name} is {value}: it must be at least {least}")
    directory = args.directory.absolute()
    there = next(path for path in (directory, *directory.parents) if path.is_dir())
    needed, free = bytes_on_disk(args.kind, args.records, args.seed), shutil.disk_usage(there).free
    if needed > free:
        raise FastCollateError(
            f"{args.directory}: {args.records:,} {args.kind} records take about {file_size(needed)}, and "
            f"{file_size(free)} are free there; ask for fewer records or another disk"
        )


if __name__ == "__main__":
    sys.exit(main())
