"""What the project keeps beside its code: the gate, the lowest versions, the changelog, the hooks."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / ".github" / "CHANGELOG.md").read_text()
HEADINGS = ["New features", "Breaking changes", "Deprecations", "Bug fixes"]


def versions(path):
    """By name, what a file of constraints pins."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def as_numbers(version):
    """2.0 and 2.0.0 are one version."""
    numbers = [int(part) for part in version.split(".")]
    return numbers + [0] * (3 - len(numbers))


def test_the_lowest_versions_tested_are_those_promised():
    extras = PROJECT["project"]["optional-dependencies"]
    texts = [*PROJECT["project"]["dependencies"], *extras["gpt2"], *extras["test"]]
    promised = dict(re.sub(r"\[.*?\]", "", text).split(">=") for text in texts)
    tested = versions(ROOT / "tools" / "floors.txt")
    assert {name: as_numbers(version) for name, version in tested.items()} == {
        name: as_numbers(version) for name, version in promised.items()
    }


def test_the_versions_pinned_are_none_below_the_lowest():
    pinned = versions(ROOT / "tools" / "constraints.txt")
    for name, version in versions(ROOT / "tools" / "floors.txt").items():
        assert as_numbers(pinned[name]) >= as_numbers(version)


def test_the_lowest_versions_take_the_place_of_the_pinned_ones():
    script = (ROOT / ".ci" / "run").read_text()
    (names,) = re.findall(r"^names=.*$", script, re.MULTILINE)
    (merge,) = re.findall(r"^(grep .*) > ", script, re.MULTILINE)
    found = subprocess.run(
        ["bash", "-euc", f"{names}\n{merge}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    pinned, lowest = (versions(ROOT / "tools" / f"{name}.txt") for name in ("constraints", "floors"))
    assert len(found.splitlines()) == len(set(found.splitlines()))
    lines = [line for line in found.splitlines() if line and not line.startswith("#")]
    assert dict(line.split("==") for line in lines) == {**pinned, **lowest}
    assert len(lines) == len(pinned)


def test_every_frozen_digest_is_in_the_changelog():
    frozen = re.findall(r'"([0-9a-f]{12})"', (ROOT / "tests" / "plan" / "test_golden_orders.py").read_text())
    assert len(frozen) >= 11
    assert [digest for digest in frozen if f"`{digest}`" not in CHANGELOG] == []


def test_the_changelog_has_a_part_for_this_version():
    parts = dict(re.findall(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", CHANGELOG, re.MULTILINE | re.DOTALL))
    assert parts.keys() & {"Unreleased", PROJECT["project"]["version"]}
    for part in parts.values():
        headings = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


def test_every_hook_is_a_step_of_the_gate():
    entries = re.findall(r"^ +entry: (.*)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    gate = (ROOT / "tools" / "check").read_text()
    assert entries == [f"tools/check {step}" for step in ("format", "lint", "types")]
    assert all(f"    {entry.split()[1]}) " in gate for entry in entries)


def test_a_step_that_is_none_is_refused():
    done = subprocess.run([ROOT / "tools" / "check", "everything"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tools/check: there is no step everything: format, lint, types or examples\n"


@pytest.mark.parametrize("name", ["tools/check", "tools/fix", ".ci/run"])
def test_scripts_can_be_run_and_are_whole(name):
    assert (ROOT / name).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", ROOT / name], check=True)


def test_what_contributors_are_told_to_run_is_there():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"(?<![\w/])((?:tools|benchmarks|tests|\.ci|\.github)/[\w./-]+)", text):
        assert (ROOT / path.rstrip(".")).exists(), path
