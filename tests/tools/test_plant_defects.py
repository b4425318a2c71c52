"""The list of planted defects fits the code, and the tool tells tests that notice from tests that do not."""

import ast

import pytest

from tools import plant_defects
from tools.plant_defects import DEFECTS, FIELDS, ROOT, defects_in, is_noticed, planted


def test_each_defect_can_be_planted_and_still_is_a_program():
    found = defects_in([])
    assert len(found) >= 60
    assert {defect["says"] for defect in found if defect.keys() != FIELDS} == set()
    for defect in found:
        path, text = planted(defect)
        assert text != path.read_text()
        ast.parse(text)
        assert [name for name in defect["tests"] if not (ROOT / name).exists()] == []
    assert len({(defect["file"], defect["before"]) for defect in found}) == len(found)


def test_one_file_of_them_is_a_part():
    parts = [defects_in([file.stem]) for file in sorted(DEFECTS.glob("*.toml"))]
    assert [defect for part in parts for defect in part] == defects_in([])


@pytest.fixture
def tree(tmp_path):
    """A tree with a function of its own and a test of it."""
    for name in ("fastcollate", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "fastcollate" / "__init__.py").touch()
    (tmp_path / "fastcollate" / "adding.py").write_text("def add(a, b):\n    return a + b\n")
    test = "from fastcollate.adding import add\n\ndef test_adding():\n    assert add(2, 2) == 4\n"
    (tmp_path / "tests" / "test_adding.py").write_text(test)
    return tmp_path


@pytest.mark.parametrize(("operator", "noticed"), [("-", True), ("*", False), ("+ ", False)])
def test_a_defect_is_noticed_or_survives(tree, operator, noticed):
    defect = {"file": "adding.py", "before": "a + b", "after": f"a {operator} b", "tests": ["tests"]}
    assert is_noticed(defect, tree) == noticed
    assert (tree / "fastcollate" / "adding.py").read_text().endswith("a + b\n")


def test_what_is_told(tree, monkeypatch, capsys):
    defect = {"says": "it multiplies", "file": "adding.py", "before": "+", "after": "*", "tests": ["tests"]}
    monkeypatch.setattr(plant_defects, "ROOT", tree)
    monkeypatch.setattr(plant_defects, "copied", lambda _: tree)
    monkeypatch.setattr(plant_defects, "defects_in", lambda _: [defect])
    assert plant_defects.main([]) == 1
    told = capsys.readouterr().out
    assert "SURVIVES" in told
    assert told.endswith("adding.py: it multiplies\n0 of 1 defects are noticed\n")
    with pytest.raises(SystemExit):
        plant_defects.main(["nothing"])
    assert "there are no defects called nothing: choose from collators, " in capsys.readouterr().err
    with pytest.raises(ValueError, match="has '-' 0 times: a defect is planted where it stands once"):
        planted({**defect, "before": "-"}, tree)
