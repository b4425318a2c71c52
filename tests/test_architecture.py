"""The house: floors, sizes, imports."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import fastcollate
import fastcollate.ragged

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastcollate"
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


# A module imports only from lower floors; rooms of one floor do not know each other.
FLOORS = {
    "errors": 0,
    "arguments": 0,  # which alone may know its neighbour: a check raises an error
    "ragged": 1,
    "storage": 1,
    "device": 1,
    "text": 2,
    "sources": 2,
    "templates": 2,
    "plan": 2,
    "collate": 2,
    "tokenizers": 3,
    "store": 4,
    "corpus": 5,
    "pretokenize": 5,
    "dataset": 6,
    "reports": 6,
    "loader": 7,
    "trainers": 8,
    "bench": 8,
    "cli": 9,
    "__main__": 10,
}
# What is large, or an extra, is known to few rooms; nobody waits for it, or needs it, who does without them.
ROOMS_THAT_MAY_IMPORT = {
    "torch": {"collate", "device", "dataset", "loader", "trainers", "bench"},
    "tiktoken": {"tokenizers"},
    "gigatoken": {"tokenizers"},
    "pyarrow": {"sources", "storage", "store", "corpus"},
    "obstore": {"storage"},
    "ray": {"pretokenize", "trainers"},
}
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
MOST_FILES = 12  # of a room
# Debts, counted over the package: a better joint makes one fewer, and then the number here falls with it.
MOST_DEBTS = {
    "noqa: SLF001": 3,  # another object's private parts
    "type: ignore": 6,
    "assert": 6,  # on state: what an assert says, a type or another class could hold
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that `path` imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


def imports_at_run_time(path):
    """Those that are not there for a type alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", [p for p in MODULES if p != PACKAGE / "__init__.py"], ids=name_of)
def test_modules_import_from_lower_floors_only(path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "fastcollate" and len(parts) > 1 and (here, parts[1]) != ("arguments", "errors"):
            assert parts[1] == here or FLOORS[parts[1]] < FLOORS[here], f"{path} imports {name}"


@pytest.mark.parametrize("module", ROOMS_THAT_MAY_IMPORT)
def test_what_is_large_is_imported_in_few_rooms(module):
    found = {room(path) for path in MODULES if any(n.split(".")[0] == module for n in imports_at_run_time(path))}
    assert found <= ROOMS_THAT_MAY_IMPORT[module]


@pytest.mark.parametrize("folder", ROOMS, ids=lambda folder: folder.name)
def test_a_room_says_at_its_door_what_it_is_and_what_it_imports(folder):
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert said.count("\n") >= 2, f"{folder.name} has no docstring of three lines"
    assert "import" in said, f"{folder.name} does not say what it may import"


def test_the_letters_of_shapes_are_explained_in_one_place():
    known = set(re.findall(r"(?:^| ) {2,4}([A-Z])  \w", fastcollate.ragged.__doc__, re.MULTILINE))
    shapes = [
        (dims, path) for path in MODULES for dims in re.findall(r"\b(?:u?int|float)\d+\[(.*?)\]", path.read_text())
    ]
    strange = {(letter, name_of(path)) for dims, path in shapes for letter in re.findall(r"\b[A-Z]\b", dims)}
    assert {found for found in strange if found[0] not in known} == set()
    assert len(known) == 10


@pytest.mark.parametrize("folder", ROOMS, ids=lambda folder: folder.name)
def test_a_room_has_at_most_twelve_files(folder):
    files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    assert folder.name == "cli" or len(files) <= MOST_FILES, (
        f"{folder.name} has {len(files)}: it wants a room inside"
    )


def test_no_name_is_given_to_two_files():
    """But in `cli/`, where a verb may be called as what it does, and where a room's file has the room's name."""
    files = [path for path in MODULES if room(path) != "cli" and path.stem not in {"__init__", "__main__"}]
    places = defaultdict(list)
    for path in files:
        places[path.stem].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
    rooms = {folder.name for folder in ROOMS}
    assert [str(path) for path in files if path.stem in rooms and path.parent.name != path.stem] == []


def test_debts_become_fewer():
    found = Counter()
    for path in MODULES:
        text = path.read_text()
        found["noqa: SLF001"] += len(re.findall(r"# noqa:.*\bSLF001\b", text))
        found["type: ignore"] += text.count("# type: ignore")
        found["assert"] += sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text)))
    assert all(found[debt] <= most for debt, most in MOST_DEBTS.items()), dict(found)


@pytest.mark.parametrize(
    "path",
    [p for folder in ("fastcollate", "tests", "benchmarks", "tools") for p in (ROOT / folder).rglob("*.py")],
    ids=name_of,
)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 300, f"{path} has {text.count(chr(10))} lines: it wants a new room"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and PACKAGE in path.parents:
            lines = node.end_lineno - node.lineno + 1 - (ast.get_docstring(node) or "").count("\n")
            assert lines <= 40, f"{path}:{node.lineno} {node.name} has {lines} lines"


def test_the_top_level_is_fixed():
    ignored = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard", "--cached"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    top = {name.split("/")[0] for name in ignored}
    allowed = {"pyproject.toml", "README.md", "fastcollate", "benchmarks", "tests", "tools"}
    assert {name for name in top if name and not name.startswith(".")} <= allowed


def test_every_exported_name_exists_and_none_hides_a_module():
    for name in fastcollate.__all__:
        assert getattr(fastcollate, name) is not None
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(fastcollate.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = fastcollate.nothing


def test_importing_the_package_is_quick_and_needs_no_torch():
    code = (
        "import sys, time; begun = time.perf_counter(); import fastcollate; "
        "print(time.perf_counter() - begun, 'torch' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert output[1] == "False"
    assert float(output[0]) < 0.3


def test_preparing_data_needs_no_torch():
    code = "import sys; from fastcollate import prepare, TokenStore, StoreWriter; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


def test_no_module_unpickles_or_evaluates_data():
    for path in MODULES:
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "pickle", "__import__"}, path
        assert not any(name.split(".")[0] in {"pickle", "dill", "cloudpickle"} for name in imports(path))


def test_the_version_is_the_one_that_is_installed_and_is_looked_up_late(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    assert version_looked_up() == "1.2.3 of fastcollate"
    monkeypatch.setattr("importlib.metadata.version", not_installed)
    assert version_looked_up() == "0+unknown"
    assert "__version__" in dir(fastcollate)
    assert "__version__" not in fastcollate.__all__


def version_looked_up():
    vars(fastcollate).pop("__version__", None)  # it is kept there once it is known
    found = fastcollate.__version__
    del fastcollate.__version__
    return found


def not_installed(name):
    raise PackageNotFoundError(name)
