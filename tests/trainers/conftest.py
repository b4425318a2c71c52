"""Frameworks that can be imported here."""

import importlib
import importlib.util
import sys


def pytest_configure():
    """Leave out a torchvision that was built for another torch: transformers would import it."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        sys.modules["torchvision"] = None
