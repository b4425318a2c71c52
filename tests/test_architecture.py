"""The house: floors, sizes, imports."""

import ast
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import fastcollate

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastcollate"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only from lower floors; rooms of one floor do not know each other.
FLOORS = {
    "errors": 0,
    "arguments": 0,
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
    "bench": 8,
    "cli": 9,
}
MAY_IMPORT_TORCH = {"collate", "device", "dataset", "loader", "trainers", "bench"}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that `path` imports, and whether at its top level."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module, id(node) in top


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE or p.stem != "__init__"], ids=str)
def test_modules_import_from_lower_floors_only(path):
    here = room(path)
    for name, at_top in imports(path):
        parts = name.split(".")
        if parts[0] == "torch" and at_top:
            assert here in MAY_IMPORT_TORCH, f"{here} must not import torch"
        if parts[0] == "tiktoken":
            assert here == "text" or name == "tiktoken", "tiktoken's parts live in text/encodings.py"
        if parts[0] != "fastcollate" or len(parts) == 1:
            continue
        assert parts[1] == here or FLOORS[parts[1]] < FLOORS[here], f"{path} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for folder in ("fastcollate", "tests", "benchmarks", "tools") for p in (ROOT / folder).rglob("*.py")],
    ids=str,
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
        ["git", "ls-files", "--others", "--exclude-standard", "--cached"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    top = {name.split("/")[0] for name in ignored}
    allowed = {"pyproject.toml", "README.md", "fastcollate", "benchmarks", "tests", "tools"}
    assert {name for name in top if not name.startswith(".")} <= allowed


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
        assert not any(name.split(".")[0] in {"pickle", "dill", "cloudpickle"} for name, _ in imports(path))


def test_the_version_is_the_one_that_is_installed_and_is_looked_up_late(monkeypatch):
    monkeypatch.delitem(vars(fastcollate), "__version__", raising=False)
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    assert fastcollate.__version__ == "1.2.3 of fastcollate"
    assert "__version__" in dir(fastcollate)
    assert "__version__" not in fastcollate.__all__
    monkeypatch.delitem(vars(fastcollate), "__version__")
    monkeypatch.setattr("importlib.metadata.version", not_installed)
    assert fastcollate.__version__ == "0+unknown"
    monkeypatch.delitem(vars(fastcollate), "__version__")


def not_installed(name):
    raise PackageNotFoundError(name)
