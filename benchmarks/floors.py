"""What no implementation could do without: the least that planning, opening and storing must cost.

Each function gives `figure` its two keywords: which limit, and the share of it that was reached.
"""

import hashlib
import statistics

import numpy as np
from timing import seconds

WINDOW = 65_536
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

    floor = statistics.median(seconds(look_up_and_sort) for _ in range(7))
    return _share("looking up and sorting a window of lengths", floor, values)


def share_of_hashing(count, *values):
    """Of the SHA-256 of `count` bytes in memory; `values` are seconds."""
    data = bytes(count)
    floor = statistics.median(seconds(lambda: hashlib.sha256(data)) for _ in range(7))
    return _share("hashing its index", floor, values)


def share_of_two_bytes(*values):
    """Of a token's own size in a uint16; `values` are bytes a token."""
    return _share("two bytes a token", TWO_BYTES, values)


def _share(limit, floor, values):
    return {"limit": limit, "share": floor / statistics.median(values)}
