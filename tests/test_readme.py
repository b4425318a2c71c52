"""Every block of the README runs, and says what it prints."""

import json
import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from fastcollate import EncodingError, load_encoding
from fastcollate.cli.main import main
from tools.report.documents import MARKS, front_door, results_page

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A directory with an `instruction-data.json`, and the gpt2 vocabulary at hand."""
    try:
        load_encoding("gpt2")
    except EncodingError:
        pytest.skip("the gpt2 vocabulary is not here")
    records = [
        {
            "instruction": f"Add {i} and {i + 1}.",
            "input": "Show it." * (i % 2),
            "output": f"{2 * i + 1}" * (1 + i % 9),
        }
        for i in range(100)
    ]
    (tmp_path / "instruction-data.json").write_text(json.dumps(records))
    monkeypatch.chdir(tmp_path)


def test_python_blocks_run_one_after_another_and_print_what_they_say(newcomer):
    for code in (code for language, code in BLOCKS if language == "python"):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
        assert printed.getvalue().splitlines() == re.findall(r"^# (.*)", code, re.MULTILINE)


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "bash" and "pip" not in code])
def test_command_line_blocks_run(newcomer, capsys, code):
    for line in code.strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "fastcollate"
        assert main(arguments) == 0, capsys.readouterr().err


def test_the_two_commands_are_what_ci_runs():
    setup = [code for language, code in BLOCKS if language == "bash" and "pip" in code]
    commands = "".join(setup).splitlines()
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert commands == [
        "pip install -c tools/constraints.txt -e '.[gpt2,fast]' && fastcollate demo",
        "pip install -c tools/constraints.txt -e '.[gpt2,test]' && python -m pytest",
    ]
    assert all(command in script for command in commands)


def test_there_are_no_blocks_but_those_that_run():
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
    assert README.count("```") == 2 * len(BLOCKS)


def test_the_figures_are_what_the_results_file_says():
    path = MARKS.search(README)["path"]
    assert front_door(README, json.loads((ROOT / path).read_text()), path) == README


def test_the_page_of_results_is_what_the_same_file_says():
    path = ROOT / MARKS.search(README)["path"]
    assert path.with_name("README.md").read_text() == results_page(json.loads(path.read_text()), path)


def test_the_front_door_is_short_and_its_links_lead_somewhere():
    assert README.count("\n") <= 130
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert {"benchmarks/results/README.md", ".github/CHANGELOG.md", ".github/CONTRIBUTING.md"} <= set(links)
    assert [link for link in links if not (ROOT / link).is_file()] == []
