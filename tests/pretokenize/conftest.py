"""Workers that start with the first record: what these tests are about happens there, however little there is."""

import pytest

from fastcollate.pretokenize import work


@pytest.fixture(autouse=True)
def workers_at_once(monkeypatch):
    monkeypatch.setattr(work, "_ALONE_SECONDS", None)
