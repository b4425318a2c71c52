"""What is padded on the device equals what is padded on the host, bit for bit, for every option."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from batches import content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_packing_collator import hand_made, spans_of
from test_packing_collator import options as packing_options
from test_padding import draw_spans
from test_padding import options as padding_options

from fastcollate import PackingCollator, PaddingCollator, Ragged, RaggedBatch
from fastcollate.collate.staged import new_arrays

cuda = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)
devices = pytest.mark.parametrize("device", ["cpu", cuda])
dtypes = st.sampled_from([np.uint16, np.uint32, np.int64])
many = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def rows_of(draw, dtype, least=1):
    top = int(np.iinfo(dtype).max)
    token = st.integers(0, 299) | st.sampled_from([top, top - 1, top // 2 + 1])
    shortest, longest = draw(st.just((1, 14)) | st.integers(1, 14).map(lambda size: (size, size)))
    return draw(st.lists(st.lists(token, min_size=shortest, max_size=longest), min_size=least, max_size=7))


def check(collator, rows, device):
    """`stage` and `build` give what the collator gives, here and after the way to another process."""
    expected = content(collator(rows))
    staged = collator.stage(rows, new_arrays)
    for arrays, build in (staged, pickle.loads(pickle.dumps(staged))):
        moved = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        (built,) = build(moved)
        tensors = built if isinstance(built, tuple) else [v for v in built.values() if isinstance(v, torch.Tensor)]
        assert {tensor.device.type for tensor in tensors} == {device}
        assert content(built) == expected
    return staged.arrays


@devices
@many
@given(st.data(), padding_options(), dtypes)
def test_ragged_batches_are_padded_there_as_here(device, data, chosen, dtype):
    rows = data.draw(rows_of(dtype))
    fillers = data.draw(st.integers(0, 2))
    spans = [np.ravel(span).astype(int) for span in draw_spans(data, rows)] + [[]] * fillers
    ids = np.array([*range(len(rows)), *[-1] * fillers])
    batch = RaggedBatch.from_ragged(
        Ragged.from_rows([*rows, *[[]] * fillers], dtype),
        record_ids=ids,
        spans=Ragged.from_rows(spans),
        width=data.draw(st.none() | st.integers(16, 20)),
    )
    chosen["ignore_index"] = data.draw(st.sampled_from([chosen["ignore_index"], 7]))
    chosen["end_token_id"] = data.draw(st.sampled_from([chosen["end_token_id"], 2**40, -3]))
    if chosen["ignore_index"] is None:
        chosen["supervise"] = "all"
    collator = PaddingCollator(data.draw(st.sampled_from([298, -1, 2**33])), **chosen)
    arrays = check(collator, batch, device)
    assert arrays["tokens"].dtype == dtype or chosen["end_token_id"] in (2**40, -3)
    for changed in ({"as_tuple": True}, {"labels": False}):
        other = copy.copy(collator)
        other.__dict__.update(changed)
        check(other, batch, device)


@devices
@many
@given(st.data(), padding_options(), st.booleans(), st.booleans())
def test_rows_with_labels_and_prompts_are_padded_there_as_here(device, data, chosen, labelled, prompted):
    rows = [{"input_ids": row} for row in data.draw(rows_of(np.uint16))]
    targets = st.sampled_from([5, 2**40, *([-100] if chosen["ignore_index"] is not None else [])])
    for row in rows:
        size = len(row["input_ids"])
        if labelled:
            row["labels"] = data.draw(st.lists(targets, min_size=size, max_size=size))
        if prompted:
            row["prompt_length"] = data.draw(st.integers(0, size))
    if not prompted:
        chosen["supervise"] = "all"
    check(PaddingCollator(298, **chosen), rows, device)


@devices
@many
@given(st.data(), packing_options(), dtypes)
def test_packs_are_laid_out_there_as_here(device, data, chosen, dtype):
    rows = data.draw(rows_of(dtype, least=0))
    spans = [data.draw(spans_of(row)) for row in rows]
    cuts = [data.draw(st.integers(0, len(row) - 1)) for row in rows]
    pieces = [(cut, data.draw(st.integers(cut + 1, len(row)))) for cut, row in zip(cuts, rows, strict=True)]
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5))), len(rows)]
    used = [stop - start for start, stop in pieces]
    fullest = max(sum(used[first:last]) for first, last in pairwise(edges))
    width = data.draw(st.none() | st.integers(max(1, fullest), fullest + 9))
    chosen["ignore_index"] = data.draw(st.sampled_from([chosen["ignore_index"], 7]))
    batch = hand_made(rows, edges, dtype, width=width, spans=spans, pieces=pieces)
    arrays = check(PackingCollator(298, **chosen), batch, device)
    assert arrays["tokens"].dtype == dtype


@devices
@many
@given(st.data(), packing_options(), st.booleans())
def test_plain_rows_are_packed_there_as_here(device, data, chosen, labelled):
    rows = [{"input_ids": row, "prompt_length": len(row) // 2} for row in data.draw(rows_of(np.uint16))]
    for row in rows:
        if labelled:
            row["labels"] = [-100, *row["input_ids"]][: len(row["input_ids"])]
    check(PackingCollator(298, **chosen), rows, device)


def test_little_travels():
    lengths = np.random.default_rng(0).integers(60, 140, 32)
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1] * n for n in lengths], np.uint16))
    arrays = PaddingCollator(0).stage(batch, new_arrays).arrays
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        "tokens": (np.uint16, (lengths.sum(),)),
        "rows": (np.int32, (2, 32)),
    }


@pytest.mark.parametrize("shift_labels", [False, True])
def test_rows_of_one_length_travel_alone(shift_labels):
    batch = RaggedBatch.from_ragged(Ragged.from_rows(np.arange(40).reshape(4, 10), np.uint16))
    arrays = check(PaddingCollator(0, shift_labels=shift_labels), batch, "cpu")
    assert {name: array.dtype for name, array in arrays.items()} == {"tokens": np.uint16}
    assert arrays["tokens"].tolist() == list(range(40))
