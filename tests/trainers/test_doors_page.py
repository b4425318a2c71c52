"""The page of doors names what is there: its blocks are programs, and what they import exists."""

import ast
import re
from importlib import import_module
from pathlib import Path

import fastcollate.trainers

PAGE = (Path(fastcollate.trainers.__file__).parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_blocks_are_programs():
    assert len(BLOCKS) == PAGE.count("```") / 2 == 7
    for block in BLOCKS:
        ast.parse(block)


def test_what_is_imported_is_there():
    named = re.findall(r"from (fastcollate\.trainers\.\w+) import ([\w, ]+)", PAGE)
    assert len(named) == 7
    for module, names in named:
        text = Path(import_module(module).__file__).read_text()  # some are made once their framework is there
        assert [name for name in names.split(", ") if f'"{name}"' not in text] == []
