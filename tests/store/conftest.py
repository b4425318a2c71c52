"""A small store in either layout, to be damaged."""

import pytest
from damage import LAYOUTS, write


@pytest.fixture(params=LAYOUTS)
def path(request, tmp_path):
    return write(tmp_path / "store", request.param)
