"""A parcel of many batches is collated as its batches are one by one, wherever its rows lie."""

import numpy as np
import pytest
import torch
from batches import content
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcollate import CollateError, PackingCollator, PaddingCollator
from fastcollate.collate.staged import new_arrays
from fastcollate.ragged import Packs, Parcel, Scattered, offsets_of

DTYPES = st.sampled_from([np.uint16, np.uint32, np.int64])
TOKENS = st.integers(0, 299)
many = settings(max_examples=200, deadline=None)


@st.composite
def scattered(draw, counts, values=TOKENS, dtypes=DTYPES, pairs=False):
    """Rows of these lengths that lie in some of several buffers, with other values around them."""
    buffers = [[draw(values)] for _ in range(draw(st.integers(1, 3)))]
    homes, starts = [], []
    for count in counts:
        home = draw(st.integers(0, len(buffers) - 1))
        homes.append(home)
        starts.append(len(buffers[home]))
        row = sorted(draw(st.lists(values, min_size=count, max_size=count)))
        buffers[home] += row if pairs else draw(st.permutations(row))
        buffers[home].append(draw(values))
    arrays = [np.array(buffer, draw(dtypes)) for buffer in buffers]
    dtype = np.result_type(*arrays)
    where = np.array(starts, np.int64), np.array(counts, np.int64)
    if len(arrays) == 1:
        return Scattered(arrays, dtype, None, *where)
    return Scattered(arrays, dtype, np.array(homes, np.int64), *where)


@st.composite
def parcels(draw, packed=False):
    """Some batches of rows, fillers last, or of packs, with spans and often with labels."""
    rows = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    lengths = [draw(st.integers(1, draw(st.sampled_from([3, 12, 90])))) for _ in range(sum(rows))]
    edges, ids = offsets_of(rows), np.arange(7, 7 + len(lengths))
    if not packed:
        for last, count in zip(edges[1:].tolist(), rows, strict=True):
            for row in range(last - draw(st.integers(0, count)), last):
                ids[row], lengths[row] = -1, 0
    tokens = draw(scattered(lengths))
    columns = {}
    spans = [2 * draw(st.integers(0, 2)) if length else 0 for length in lengths]
    if lengths:
        limit = max(1, min((n for n in lengths if n), default=1))
        columns["spans"] = draw(scattered(spans, st.integers(0, limit), st.just(np.uint32), pairs=True))
    if draw(st.booleans()):
        columns["labels"] = draw(scattered(lengths, st.sampled_from([-100, 5, 6]), st.just(np.int64)))
    cuts = None
    if packed:
        packs = [draw(st.integers(1, count)) for count in rows]
        held = np.array(
            [count // of + (i < count % of) for count, of in zip(rows, packs, strict=True) for i in range(of)]
        )
        empty = draw(st.booleans())
        if empty:  # a filler pack at the end of the last batch
            held, packs[-1] = np.append(held, 0), packs[-1] + 1
        ends = offsets_of(held)
        fullest = max(int(n) for n in np.diff(offsets_of(lengths)[ends]))
        where = Packs.of(np.array(lengths), ends, fullest + draw(st.integers(0, 4)))
        widths = np.full(len(rows), where.width)
        return Parcel(tokens, ids, edges, widths, columns, where, offsets_of(packs), cuts)
    longest = np.maximum.reduceat(np.array(lengths), edges[:-1])
    widths = np.maximum(longest, 1) + draw(st.integers(1, 9)) if draw(st.booleans()) else None
    return Parcel(tokens, ids, edges, widths, columns)


def check(collator, parcel):
    """Collated at once, staged at once, and one by one."""
    batches = list(parcel.side_by_side().batches())
    expected = [content(collator(batch)) for batch in batches]
    assert [content(batch) for batch in collator.collate(parcel, new_arrays)] == expected
    arrays, build = collator.stage(parcel, new_arrays)
    built = build({name: torch.from_numpy(array) for name, array in arrays.items()})
    assert [content(batch) for batch in built] == expected
    for part, batch in zip(parcel.singles(), expected, strict=True):
        assert [content(found) for found in collator.collate(part, new_arrays)] == [batch]


ROWS = st.fixed_dictionaries(
    {
        "pad_token_id": st.sampled_from([298, -1]),
        "end_token_id": st.sampled_from([None, 299, 2**40]),
        "max_length": st.sampled_from([None, 2, 3]),
        "truncation": st.sampled_from(["right", "left", "keep_end"]),
        "padding_side": st.sampled_from(["right", "left"]),
        "pad_to_multiple_of": st.sampled_from([1, 8]),
        "shift_labels": st.booleans(),
        "supervise": st.sampled_from(["all", "response"]),
    }
)


@many
@given(parcels(), ROWS)
def test_padded(parcel, chosen):
    for beside in ({}, {"as_tuple": True}, {"labels": False}):
        check(PaddingCollator(**chosen, **beside), parcel)


@many
@given(parcels(packed=True), st.sampled_from(["rows", "flat"]), st.sampled_from(["all", "response"]))
def test_packed(parcel, layout, supervise):
    check(PackingCollator(298, layout=layout, supervise=supervise), parcel)
    if layout == "rows":
        check(PackingCollator(-1, supervise=supervise, attention_mask=True), parcel)
    else:
        check(PackingCollator(0, layout="flat", supervise=supervise, keys="transformers"), parcel)


@many
@given(parcels(), st.sampled_from(["rows", "flat"]))
def test_rows_as_packs(parcel, layout):
    check(PackingCollator(298, layout=layout), parcel)


def test_a_batch_that_cannot_be_is_named_by_its_own_rows():
    rows = Scattered([np.arange(9, dtype=np.uint16)], np.dtype(np.uint16), None, np.arange(3), np.array([1, 1, 3]))
    first, second = Parcel(rows, np.arange(3), np.array([0, 2, 3])).singles()
    collator = PaddingCollator(0, max_length=2, truncation="error")
    assert len(collator.collate(first, new_arrays)) == 1
    with pytest.raises(CollateError, match="row 0 has 3 tokens"):
        collator.collate(second, new_arrays)


def test_a_kept_batch_can_have_memory_of_its_own():
    rows = Scattered([np.arange(9, dtype=np.uint16)], np.dtype(np.uint16), None, np.arange(4), np.full(4, 3))
    first, second = PaddingCollator(0).collate(Parcel(rows, np.arange(4), np.array([0, 2, 4])), new_arrays)
    begin, size = first["input_ids"].data_ptr(), 6 * 8
    assert second["input_ids"].data_ptr() == begin + size
    assert second.record_ids.data_ptr() == first.record_ids.data_ptr() + 2 * 8
    for batch in (first, second):  # to torch each is a tensor of its own
        assert batch["input_ids"].untyped_storage().nbytes() == size
    alone = second.clone()
    assert content(alone) == content(second)
    assert not begin <= alone["input_ids"].data_ptr() < begin + 2 * size
    version = first["input_ids"]._version
    second["input_ids"] += 1
    assert (first["input_ids"]._version, content(alone) == content(second)) == (version, False)
