"""`PaddingCollator` equals an oracle that places one token at a time, for every option and input form."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import pad_rows

from fastcollate import Batch, CollateError, PaddingCollator, Ragged, RaggedBatch
from fastcollate.collate import kernels
from fastcollate.ragged import Rows

tokens = st.integers(0, 299)
row_lists = st.lists(st.lists(tokens, min_size=1, max_size=14), min_size=1, max_size=7)


@st.composite
def options(draw):
    chosen = {
        "ignore_index": draw(st.sampled_from([-100, -1, None])),
        "end_token_id": draw(st.none() | st.just(299)),
        "max_length": draw(st.none() | st.integers(1, 16)),
        "truncation": draw(st.sampled_from(["right", "left", "keep_end"])),
        "padding_side": draw(st.sampled_from(["right", "left"])),
        "pad_to_multiple_of": draw(st.sampled_from([1, 4, 8])),
        "shift_labels": draw(st.booleans()),
        "supervise": draw(st.sampled_from(["all", "response"])),
    }
    if chosen["ignore_index"] is None:
        chosen["supervise"] = "all"
    return chosen


def draw_spans(data, rows):
    spans = []
    for row in rows:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(row)), max_size=4)))
        cuts = cuts[: len(cuts) // 2 * 2]
        spans.append(list(zip(cuts[::2], cuts[1::2], strict=True)))
    return spans


def check(batch, expected):
    ids, mask, labels, num_tokens, num_supervised = expected
    for name, array in (("input_ids", ids), ("attention_mask", mask), ("labels", labels)):
        assert batch[name].dtype == torch.int64
        assert batch[name].is_contiguous()
        np.testing.assert_array_equal(batch[name].numpy(), array, err_msg=name)
    assert batch.num_tokens == num_tokens
    assert batch.num_supervised == num_supervised
    assert batch.padding_fraction == pytest.approx(1 - num_tokens / ids.size if ids.size else 0.0)


@pytest.fixture(params=["as measured", "by slices", "by cells"], autouse=True)
def strategy(request, monkeypatch):
    """Both ways to fill must give the same: run everything with each of them too."""
    if request.param != "as measured":
        monkeypatch.setattr(kernels, "_LONG", 0 if request.param == "by slices" else 1 << 40)


@settings(max_examples=150)
@given(row_lists, options(), st.data())
def test_lists_of_rows(rows, chosen, data):
    spans = draw_spans(data, rows)
    collator = PaddingCollator(298, **chosen)
    found = collator([{"input_ids": row, "spans": span} for row, span in zip(rows, spans, strict=True)])
    check(found, pad_rows(rows, 298, **chosen, spans=spans))


@settings(max_examples=150)
@given(row_lists, options(), st.data(), st.sampled_from([np.uint16, np.uint32, np.int64]), st.integers(0, 2))
def test_ragged_batches_with_filler_rows(rows, chosen, data, dtype, fillers):
    spans = draw_spans(data, rows)
    flat = [[p for pair in span for p in pair] for span in spans]
    batch = RaggedBatch.from_ragged(
        Ragged.from_rows([*rows, *([[]] * fillers)], dtype),
        record_ids=np.array([*range(10, 10 + len(rows)), *([-1] * fillers)]),
        spans=Ragged.from_rows([*flat, *([[]] * fillers)]),
    )
    found = PaddingCollator(298, **chosen)(batch)
    check(found, pad_rows(rows, 298, **chosen, spans=spans, fillers=fillers))
    assert found.record_ids.tolist() == [*range(10, 10 + len(rows)), *([-1] * fillers)]
    assert found.record_ids.dtype == torch.int64


@settings(max_examples=100)
@given(row_lists, options(), st.data())
def test_labels_given_with_the_rows(rows, chosen, data):
    targets = st.sampled_from([7, 8, 9, *([-100] if chosen["ignore_index"] is not None else [])])
    labels = [data.draw(st.lists(targets, min_size=len(r), max_size=len(r))) for r in rows]
    spans = draw_spans(data, rows)
    dicts = [
        {"input_ids": torch.tensor(r), "labels": np.array(t), "spans": s}
        for r, t, s in zip(rows, labels, spans, strict=True)
    ]
    found = PaddingCollator(298, **chosen)(dicts)
    check(found, pad_rows(rows, 298, **chosen, spans=spans, given_labels=labels))


@given(row_lists)
def test_padding_can_be_undone(rows):
    batch = PaddingCollator(0)(rows)
    undone = [
        row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert undone == rows


def test_a_width_the_plan_fixed_is_kept():
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2], [3]]), width=4)
    check(PaddingCollator(0)(batch), pad_rows([[1, 2], [3]], 0, width=4))
    with pytest.raises(CollateError, match="needs 5 columns but the plan fixed 4"):
        PaddingCollator(0, end_token_id=9)(RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3, 4]]), width=4))


def test_the_supervised_part_of_a_real_record():
    row = list(range(62))
    collator = PaddingCollator(50256, supervise="response", shift_labels=True, as_tuple=True)
    _, targets = collator([{"input_ids": row, "prompt_length": 47}])
    assert targets[0, :46].eq(-100).all()
    assert targets[0, 46].item() == row[47]


def test_a_batch_is_a_dict_that_keeps_what_is_known_about_it():
    batch = PaddingCollator(0)([[1, 2], [3]])
    assert dict(**batch).keys() == {"input_ids", "attention_mask", "labels"}
    for other in (batch.to("cpu"), copy.copy(batch), pickle.loads(pickle.dumps(batch))):
        assert isinstance(other, Batch)
        assert other.num_tokens == 3
        assert other.record_ids.tolist() == [0, 1]
        assert all(torch.equal(other[name], batch[name]) for name in batch)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the batch is empty"),
        (None, "the batch is a NoneType: give a list of rows"),
        ([torch.ones(2, dtype=torch.int64, device="meta")], "row 0 is torch.int64 of shape"),
        ([np.array([2**63], np.uint64)], "row 0 is uint64"),
        ([{"input_ids": [1, 2], "spans": "x"}], "row 0 has spans 'x'"),
        ([{"input_ids": [1, 2], "prompt_length": "x"}], "prompt_length of row 0 is 'x'"),
        ([[1], []], "row 1 is empty"),
        ([[1.5, 2.0]], r"row 0 is a list with 1\.5: rows are flat sequences of integers"),
        ([[1], np.array([0.5])], r"row 1 is float64 of shape \(1,\)"),
        ([[1], torch.zeros(2, 2, dtype=torch.int64)], r"row 1 is torch\.int64 of shape \(2, 2\)"),
        ([[1], "text"], "row 1 is a str"),
        ([[1], [2**70]], "row 1 is a list"),
        ([{"input_ids": [1]}, [2]], "mixes dicts with plain rows"),
        ([{"tokens": [1]}], "dicts without 'input_ids'"),
        ([{"input_ids": [1], "labels": [1]}, {"input_ids": [2]}], "row 1 has no 'labels' while others do"),
        ([{"input_ids": [1, 2], "labels": [1]}], "row 0 has 2 input_ids and 1 labels"),
        ([{"input_ids": [1, 2], "spans": [(0, 3)]}], r"row 0 has spans \[0, 3\]"),
    ],
)
def test_bad_rows_are_named(rows, message):
    with pytest.raises(CollateError, match=message):
        PaddingCollator(0)(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": -1}, "max_length is -1: it must be an integer, at least 1"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of is 0"),
        ({"pad_to_multiple_of": None}, "pad_to_multiple_of is None: it must be an integer"),
        ({"end_token_id": "x"}, "end_token_id is 'x': it must be an integer"),
        ({"ignore_index": 1.5}, r"ignore_index is 1\.5: it must be an integer"),
        ({"truncation": "middle"}, "truncation is 'middle': it must be 'right', 'left', 'keep_end' or 'error'"),
        ({"padding_side": "top"}, "padding_side is 'top'"),
        ({"supervise": "some"}, "supervise is 'some'"),
        ({"labels": False, "as_tuple": True}, "it needs labels=True"),
        ({"ignore_index": None, "supervise": "response"}, "it cannot be None"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(CollateError, match=message):
        PaddingCollator(0, **arguments)


def test_truncation_can_be_refused():
    with pytest.raises(CollateError, match="row 1 has 3 tokens, more than the 2 that max_length leaves room for"):
        PaddingCollator(0, max_length=2, truncation="error")([[1], [1, 2, 3]])


def test_responses_need_rows_that_know_theirs():
    with pytest.raises(CollateError, match="needs rows that know their response"):
        PaddingCollator(0, supervise="response")([[1, 2]])


def test_numpy_integers_are_integers():
    rows = [[1, 2], [3]]
    found = PaddingCollator(
        np.int64(9), end_token_id=np.int32(8), ignore_index=np.int16(-1), max_length=np.int8(4)
    )(rows)
    check(found, pad_rows(rows, 9, end_token_id=8, ignore_index=-1, max_length=4))


def test_what_the_loss_skips_is_not_counted():
    batch = PaddingCollator(5, ignore_index=5, shift_labels=True, end_token_id=5)([[1, 5, 2], [5]])
    assert batch.num_supervised == int((batch["labels"] != 5).sum()) == 1


def test_max_length_is_kept_where_the_plan_fixed_a_wider_one():
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3], [4]]), width=8)
    assert PaddingCollator(0, max_length=2)(batch)["input_ids"].tolist() == [[1, 2], [4, 0]]


def test_torchs_walkers_can_rebuild_a_batch():
    batch = PaddingCollator(0)([[1, 2], [3]])
    rebuilt = Batch(list(batch.items()))
    assert rebuilt.num_tokens == 3
    assert rebuilt.record_ids.tolist() == [-1, -1]
    assert rebuilt.num_supervised == -1


def test_a_batch_is_rebuilt_from_what_stands_for_its_tensors():
    """Some walkers send shapes first, and fill in the tensors later."""
    names = PaddingCollator(0)([[1, 2], [3]]).keys()
    rebuilt = Batch({name: object() for name in names})
    assert (rebuilt.num_tokens, rebuilt.record_ids.tolist()) == (-1, [])


@pytest.mark.parametrize("beside", [{}, {"end_token_id": 299}])
@pytest.mark.parametrize("single", [0, 7, 39])
def test_many_rows_among_which_one_has_a_single_token(beside, single):
    rows = [[5, 6, 7]] * 40
    rows[single] = [8]
    check(
        PaddingCollator(298, shift_labels=True, **beside)(rows), pad_rows(rows, 298, shift_labels=True, **beside)
    )


def test_a_filler_may_lie_anywhere():
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[], [1, 2]]), record_ids=np.array([-1, 0]))
    found = PaddingCollator(0, shift_labels=True)(batch)
    assert found["input_ids"].tolist() == [[0], [1]]
    assert found["labels"].tolist() == [[-100], [2]]


@pytest.mark.parametrize("count", [4, 40])
def test_arrays_that_are_not_aligned_are_read(count):
    raw = bytearray(b"\0" + np.arange(1, 200, dtype=np.uint16).tobytes())
    values = np.frombuffer(raw, np.uint16, offset=1)
    batch = RaggedBatch.from_ragged(Ragged(values, np.arange(0, 3 * count + 1, 3)))
    expected = np.arange(1, 3 * count + 1).reshape(count, 3)
    np.testing.assert_array_equal(PaddingCollator(0)(batch)["input_ids"].numpy(), expected, strict=True)


@pytest.mark.parametrize("count", [3, 100])
def test_values_that_lie_apart_are_padded_alike(count):
    values = np.arange(1, 20 * count + 1, dtype=np.uint16)
    offsets = np.arange(count + 1) * 7
    for apart in (values[::2], values[::-1]):
        rows = Rows(apart, offsets[:-1], np.full(count, 7) - np.arange(count) % 3)
        batch = RaggedBatch(rows, np.arange(count))
        expected = PaddingCollator(0)([row.tolist() for row in rows])
        found = PaddingCollator(0)(batch)
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor)


def test_a_row_without_a_record_gets_no_end_token_also_where_it_has_tokens():
    rows = Rows.of(Ragged.from_rows([[5, 6], [7]], np.uint16))
    collate = PaddingCollator(0, end_token_id=9)
    found = collate(RaggedBatch(rows, np.array([3, -1])))["input_ids"]
    assert torch.equal(found, torch.tensor([[5, 6, 9], [7, 0, 0]]))
