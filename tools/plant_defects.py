"""Plant one defect after another in a copy of this tree, and see that the tests notice each.

    python -m tools.plant_defects            # all, which takes some minutes
    python -m tools.plant_defects packs      # those of one file in `tools/defects`

A defect is a few characters that become others; which tests must fail stands beside it. One that survives is a
hole in the tests, and the exit code is 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEFECTS = ROOT / "tools" / "defects"
FIELDS = {"says", "file", "before", "after", "tests"}
LIMIT = 600  # seconds after which tests that hang have noticed, too


def defects_in(names):
    """The defects of the files of these names, or of all, in order."""
    files = [DEFECTS / f"{name}.toml" for name in names] or sorted(DEFECTS.glob("*.toml"))
    return [defect for file in files for defect in tomllib.loads(file.read_text())["defect"]]


def planted(defect, root=ROOT):
    """The path and the text of a file with a defect in it."""
    path = root / "fastcollate" / defect["file"]
    text = path.read_text()
    if text.count(defect["before"]) != 1:
        raise ValueError(
            f"{defect['file']} has {defect['before']!r} {text.count(defect['before'])} times: a defect is planted "
            "where it stands once; write it anew"
        )
    return path, text.replace(defect["before"], defect["after"])


def is_noticed(defect, root):
    """Whether the tests fail in a tree that has the defect, which it loses again."""
    path, text = planted(defect, root)
    sound = path.read_text()
    path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "--timeout=100", *defect["tests"]]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(sound)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run: {run.stdout.decode()[-2000:]}{run.stderr.decode()[-2000:]}")
    return run.returncode == 1


def copied(target):
    """A copy of the files that belong to this tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def main(argv=None):
    """Plant them; 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [file.stem for file in sorted(DEFECTS.glob("*.toml"))]
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}")
    names = parser.parse_args(argv).names
    if unknown := set(names) - set(known):
        parser.error(f"there are no defects called {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    survivors, defects = [], defects_in(names)
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder))
        for defect in defects:
            begun = time.monotonic()
            noticed = is_noticed(defect, root)
            survivors += [] if noticed else [defect]
            word = "noticed" if noticed else "SURVIVES"
            print(f"{word}  {time.monotonic() - begun:5.1f} s  {defect['file']}: {defect['says']}", flush=True)
    print(f"{len(defects) - len(survivors)} of {len(defects)} defects are noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
