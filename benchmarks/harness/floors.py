"""The least that our way of planning, opening and storing must cost; another way may have another least.

Each function gives `figure` its two keywords: which limit, and the share of it that was reached.
"""

import hashlib
import statistics

import numpy as np

from benchmarks.harness.timing import seconds

WINDOW = 65_536
ROUNDS = 7  # of a limit, of which the fastest is taken: nothing but noise makes it slower
TWO_BYTES = 2.0


def share_of_sorting(lengths_at, records, *values):
    """Of looking up and sorting as many random lengths as a window has; `values` are seconds for one window.

    Longest first, by radix, as 16-bit integers: NumPy's fastest way.
    """
    size = min(WINDOW, records)
    rows = np.random.default_rng(0).integers(0, records, size)
    assert lengths_at(rows).max() <= 2**16

    def look_up_and_sort():
        np.argsort((2**16 - lengths_at(rows)).astype(np.uint16), kind="stable")

    floor = min(seconds(look_up_and_sort) for _ in range(ROUNDS))
    return _share("looking up and sorting a window of lengths", floor, values)


def share_of_hashing(count, *values):
    """Of the SHA-256 of `count` bytes in memory; `values` are seconds."""
    data = bytes(count)
    floor = min(seconds(lambda: hashlib.sha256(data)) for _ in range(ROUNDS))
    return _share("hashing its index", floor, values)


def share_of_two_bytes(*values):
    """Of a token's own size in a uint16; `values` are bytes a token."""
    return _share("two bytes a token", TWO_BYTES, values)


def _share(limit, floor, values):
    return {"limit": limit, "share": floor / statistics.median(values)}
