"""A results file of the benchmarks as one HTML page and its pictures, or as the tables of two READMEs."""

import argparse
import sys
from pathlib import Path

from tools.report.documents import MARKS, front_door, results_page
from tools.report.page import page
from tools.report.results_file import load_results

ROOT = Path(__file__).parents[2]
EPILOG = """\
The page needs nothing else: its pictures are inside it. They are written beside it as PNG files too.

example:
  python -m tools.report benchmarks/results/2026-11-23-two-cores.json --output report
  python -m tools.report benchmarks/results/2026-11-23-two-cores.json --readmes
"""


def main(argv=None):
    """Write what was asked for; the exit code: 0, or 1 (an error, in one line)."""
    args = parser().parse_args(argv)
    try:
        results = load_results(args.results)
        if args.readmes:
            write_readmes(results, args.results)
        else:
            write_report(results, args.output or args.results.with_suffix(""), args.results.stem)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}")
    except ValueError as error:
        return fail(str(error))
    return 0


def fail(message):
    print(f"report: {message}", file=sys.stderr)
    return 1


def parser():
    made = argparse.ArgumentParser(
        prog="python -m tools.report",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("results", type=Path, metavar="FILE.json", help="what `python -m benchmarks` wrote")
    made.add_argument("--output", type=Path, metavar="DIR", help="where to (default: FILE without .json)")
    readmes = "write README.md's five figures and all tables beside the file instead; needs no matplotlib"
    made.add_argument("--readmes", action="store_true", help=readmes)
    return made


def write_readmes(results, path):
    """Put the five figures into README.md, and every table into the README beside the results file."""
    front, inside = ROOT / "README.md", path.resolve()
    if not inside.is_relative_to(ROOT):
        raise ValueError(f"{path} is not in the repository: README.md can only name a file that is")
    if not MARKS.search(front.read_text()):
        raise ValueError("README.md has no lines <!-- measured: ... --> and <!-- /measured --> to write between")
    front.write_text(front_door(front.read_text(), results, inside.relative_to(ROOT).as_posix()))
    inside.with_name("README.md").write_text(results_page(results, inside))
    print(f"wrote the figures of {path} into README.md and {inside.with_name('README.md').relative_to(ROOT)}")


def write_report(results, directory, name):
    """The page, and each picture beside it."""
    try:
        from tools.report.charts import PICTURES, render  # noqa: PLC0415  # only a report with pictures needs matplotlib
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ValueError("the pictures are drawn with matplotlib: pip install matplotlib") from None
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for picture in PICTURES:
        made = render(picture, results)
        drawn.append((picture.title, made and made[1]))
        if made:
            (directory / f"{picture.name}.png").write_bytes(made[0])
    (directory / "index.html").write_text(page(results, name, drawn))
    print(f"wrote {directory / 'index.html'} and {sum(svg is not None for _, svg in drawn)} pictures")


if __name__ == "__main__":
    sys.exit(main())
