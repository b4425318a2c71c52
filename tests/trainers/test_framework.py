"""A door says which package it lacks, and how it is installed."""

import pytest

from fastcollate import InputError
from fastcollate.trainers.framework import framework


def test_a_framework_that_is_not_here_is_named_with_the_line_that_brings_it():
    with pytest.raises(InputError, match=r"needs the package nowhere_to_be_found, .* 'fastcollate\[trainers\]'"):
        framework("nowhere_to_be_found.data")


def test_what_a_framework_itself_lacks_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        framework("half_installed")
