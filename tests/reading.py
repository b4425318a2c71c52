"""What sources give, and what they say."""

from collections import Counter

import numpy as np
import pytest

from fastcollate.errors import InputError
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks

RULE = "a file holds one JSON array of objects, or JSON Lines: one object a line"


def read(source, **options) -> list:
    return list(read_chunks(resolve(source), **options))


def records(source, **options) -> list[dict]:
    return [record for chunk in read(source, **options) for record in chunk.records]


def content(chunk) -> tuple:
    assert chunk.rows.dtype == np.int64
    return chunk.rows.tolist(), chunk.records, dict(Counter(row.reason for row in chunk.rejected))


def addresses(chunk) -> list[str]:
    return [chunk.origin.at(row) for row in chunk.rows.tolist()]


def error_of(source, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        read(source, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def assert_error(source, reason: str, message: str, **options) -> None:
    error = error_of(source, **options)
    assert (error.reason, str(error)) == (reason, message)
