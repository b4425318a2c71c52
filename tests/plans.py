"""Plans over records of which only the lengths are known, and strategies that draw them."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks

ANY, MANY = st.integers(1, 100), st.integers(9, 100)  # records of a window; the least batches of rows need 9


class Known:
    """Records with these lengths."""

    def __init__(self, lengths):
        self.lengths = np.asarray(lengths, np.int64)
        self.histogram = np.unique(self.lengths, return_counts=True)

    def lengths_at(self, indices):
        return self.lengths[indices]


def fields(records, **changes):
    """What every plan needs, by name."""
    return {
        "num_records": len(records.lengths),
        "records": records,
        "shuffle": True,
        "seed": 0,
        "epoch": 0,
        "window": 100,
        "drop_last": False,
        "group": 1,
        **changes,
    }


@st.composite
def shared_fields(draw, longest, windows):
    count = draw(st.integers(1, 90))
    records = Known(draw(st.lists(st.integers(1, longest), min_size=count, max_size=count)))
    return fields(
        records,
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
        epoch=draw(st.integers(0, 5)),
        window=draw(windows),
        drop_last=draw(st.booleans()),
        group=draw(st.integers(1, 5)),
        shuffle_block=draw(st.sampled_from([1, 1, 3, 8])),
    )


@st.composite
def bucket_plans(draw, windows=MANY):
    shared = draw(shared_fields(30, windows)) | {
        "widths": draw(st.none() | st.sampled_from([[30], [8, 30], [4, 12, 20, 30]])),
        "max_length": draw(st.none() | st.integers(1, 40)),
        "longest_first": draw(st.booleans()),
        "lanes": draw(st.sampled_from([1, 1, 2, 3, 4])),
    }
    if draw(st.booleans()):
        return RowBuckets(batch_size=draw(st.integers(1, 9)), **shared)
    return TokenBuckets(max_tokens=draw(st.integers(30, 120)), **shared)


@st.composite
def pack_plans(draw, windows=ANY):
    length = draw(st.integers(2, 40))
    wrapped = draw(st.booleans())
    longest = 60 if wrapped or draw(st.booleans()) else length
    shared = draw(shared_fields(longest, windows)) | {
        "length": length,
        "batch_size": draw(st.integers(1, 4)),
        "lanes": draw(st.sampled_from([1, 1, 2, 3, 4])),
    }
    if wrapped:
        return WrappedPacks(**shared)
    return BestFitPacks(overlong=draw(st.sampled_from(["truncate", "drop", "split"])), **shared)


def any_plans():
    """Plans of all kinds, most of several windows."""
    return bucket_plans(st.integers(9, 30)) | pack_plans(st.integers(1, 30))


def global_batches(plan):
    """All batches of the epoch, in global order."""
    return [batch for _, window in plan.windows() for batch in window]


def rows_of(batch):
    """The real rows of a batch: records, or packs as lists of (record, begin, length)."""
    if not hasattr(batch, "packs"):
        return batch.record_ids[batch.record_ids >= 0].tolist()
    documents = list(zip(*(column.tolist() for column in batch.pieces), strict=True))
    edges = batch.packs.edges.tolist()
    packs = [documents[first:last] for first, last in pairwise(edges)]
    return [pack for pack in packs if pack]
