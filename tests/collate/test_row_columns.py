"""What rows say about themselves beside their tokens is honoured by both collators."""

import numpy as np
import pytest
import torch
from batches import content
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import pack_rows, pad_rows
from test_packing_collator import check as check_packs
from test_packing_collator import options as packing_options
from test_packing_collator import spans_of
from test_padding import check as check_rows
from test_padding import options as padding_options
from test_staged import check as check_staged

from fastcollate import PackingCollator, PaddingCollator, Ragged, RaggedBatch

COLLATORS = [PaddingCollator(0), PackingCollator(0)]
both = pytest.mark.parametrize("collator", COLLATORS, ids=lambda c: type(c).__name__)
MASKS = ["completion_mask", "assistant_masks", "loss_mask"]
FORMS = [list, tuple, np.array, torch.tensor]
row_lists = st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=9), min_size=1, max_size=5)


def bits(data, row):
    return data.draw(st.lists(st.integers(0, 1), min_size=len(row), max_size=len(row)))


def ignoring(values, masks):
    """Labels, with -100 where one of the masks is 0."""
    return [value if all(kept) else -100 for value, *kept in zip(values, *masks, strict=True)]


@st.composite
def described(draw, data_names=("labels", "spans", "prompt_length", *MASKS, "position_ids")):
    """Rows as dicts with some of the columns a row may have."""
    names = draw(st.lists(st.sampled_from(data_names), unique=True))
    if "spans" in names and "prompt_length" in names:
        names.remove("spans")
    form = draw(st.sampled_from(FORMS))
    rows = []
    for tokens in draw(row_lists):
        size = len(tokens)

        def values(what, size=size):
            return form(draw(st.lists(what, min_size=size, max_size=size)))

        made = {
            "labels": lambda values=values: values(st.sampled_from([-100, 5, 7])),
            "spans": lambda tokens=tokens: draw(spans_of(tokens)),
            "prompt_length": lambda size=size: draw(st.integers(0, size)),
            "position_ids": lambda size=size: form(range(size) if form is not torch.tensor else list(range(size))),
            **dict.fromkeys(MASKS, lambda values=values: values(st.integers(0, 1))),
        }
        rows.append({"input_ids": tokens, **{name: made[name]() for name in names}})
    return rows


def padded_already(data, row):
    """The same row with junk before and after it, that its attention mask tells apart."""
    before, after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    size = len(row["input_ids"])
    wide = {"attention_mask": [0] * before + [1] * size + [0] * after}
    for name, value in row.items():
        if name == "prompt_length":
            wide[name] = before + value
        elif name == "spans":
            wide[name] = [(before + start, before + stop) for start, stop in value]
        else:
            wide[name] = [1] * before + [int(item) for item in value] + [1] * after
    return wide


def without_responses(rows, chosen):
    if not any(name in rows[0] for name in ("spans", "prompt_length", *MASKS)):
        chosen["supervise"] = "all"
    if chosen["ignore_index"] is None:
        chosen["ignore_index"] = 3
    return chosen


@settings(max_examples=150)
@given(described(), padding_options(), st.data())
def test_a_row_that_is_padded_already_is_cut_to_its_tokens(rows, chosen, data):
    collator = PaddingCollator(298, **without_responses(rows, chosen))
    assert content(collator([padded_already(data, row) for row in rows])) == content(collator(rows))


@settings(max_examples=150)
@given(described(), packing_options(), st.data())
def test_a_document_that_is_padded_already_is_cut_to_its_tokens(rows, chosen, data):
    collator = PackingCollator(298, **without_responses(rows, chosen))
    assert content(collator([padded_already(data, row) for row in rows])) == content(collator(rows))


@settings(max_examples=100)
@given(described(), padding_options(), packing_options(), st.data())
def test_what_rows_say_is_the_same_on_a_device(rows, padded, packed, data):
    wide = [padded_already(data, row) for row in rows]
    check_staged(PaddingCollator(298, **without_responses(rows, padded)), wide, "cpu")
    check_staged(PackingCollator(298, **without_responses(rows, packed)), wide, "cpu")


@settings(max_examples=150)
@given(row_lists, padding_options(), st.lists(st.sampled_from(MASKS), unique=True, min_size=1), st.data())
def test_tokens_that_a_mask_leaves_out_are_no_targets(rows, chosen, names, data):
    chosen["ignore_index"] = data.draw(st.sampled_from([-100, -1]))
    masks = [[bits(data, row) for _ in names] for row in rows]
    labels = [ignoring(row, mask) for row, mask in zip(rows, masks, strict=True)]
    dicts = [
        {"input_ids": row, **dict(zip(names, mask, strict=True))} for row, mask in zip(rows, masks, strict=True)
    ]
    whole = [[(0, len(row))] for row in rows]
    expected = pad_rows(rows, 298, **chosen, spans=whole, given_labels=labels)
    check_rows(PaddingCollator(298, **chosen)(dicts), expected)


@settings(max_examples=100)
@given(row_lists, packing_options(), st.sampled_from(MASKS), st.booleans(), st.data())
def test_tokens_that_a_mask_leaves_out_are_no_targets_in_packs(rows, chosen, name, spoken, data):
    masks = [bits(data, row) for row in rows]
    labels = [ignoring(row, [mask]) for row, mask in zip(rows, masks, strict=True)]
    dicts = [{"input_ids": row, name: mask} for row, mask in zip(rows, masks, strict=True)]
    spans = [data.draw(spans_of(row)) if spoken else [(0, len(row))] for row in rows]
    if spoken:
        dicts = [{**row, "spans": span} for row, span in zip(dicts, spans, strict=True)]
    packs = [[i] for i in range(len(rows))]
    expected = pack_rows(rows, packs, 298, **chosen, spans=spans, given_labels=labels)
    check_packs(PackingCollator(298, **chosen)(dicts), expected)


@both
@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_masks_may_be_booleans(collator, form):
    rows = [{"input_ids": [5, 6, 7], "loss_mask": form([True, False, True])}]
    assert collator(rows)["labels"][0].tolist()[1:] == [-100, 7]


@both
@pytest.mark.parametrize("given_beside", [{}, {"spans": [(0, 3)]}, {"prompt_length": 1}])
def test_an_attention_mask_of_ones_changes_nothing(collator, given_beside):
    rows = [{"input_ids": [5, 6, 7], **given_beside}]
    masked = [{**row, "attention_mask": torch.ones(3, dtype=torch.int64)} for row in rows]
    assert content(collator(masked)) == content(collator(rows))


@settings(max_examples=150)
@given(st.data(), row_lists, packing_options(), st.sampled_from(["position_ids", "seq_lengths", "both"]))
def test_a_row_of_several_documents_is_a_pack_of_them(data, rows, chosen, told):
    cuts = [sorted(data.draw(st.sets(st.integers(1, len(row) - 1)))) if len(row) > 1 else [] for row in rows]
    parts = [np.diff([0, *cut, len(row)]).tolist() for cut, row in zip(cuts, rows, strict=True)]
    spans = [data.draw(spans_of(row)) for row in rows]
    dicts, documents, known, before, packs = [], [], [], [], []
    for row, span, lengths in zip(rows, spans, parts, strict=True):
        described = {"position_ids": [i for n in lengths for i in range(n)], "seq_lengths": lengths}
        names = described if told == "both" else [told]
        dicts.append({"input_ids": row, "spans": span, **{name: described[name] for name in names}})
        packs.append(list(range(len(documents), len(documents) + len(lengths))))
        starts = np.cumsum([0, *lengths[:-1]]).tolist()
        documents += [row[start : start + n] for start, n in zip(starts, lengths, strict=True)]
        known += [span] * len(lengths)
        before += starts
    collator = PackingCollator(298, **chosen)
    found = collator(dicts)
    check_packs(found, pack_rows(documents, packs, 298, **chosen, spans=known, cuts=before))
    assert found.record_ids.tolist() == [i for i, pack in enumerate(packs) for _ in pack]
    check_staged(collator, dicts, "cpu")
    if all(len(pack) == 1 for pack in packs):
        alone = [{"input_ids": row} for row in rows]
        assert content(PaddingCollator(0)(dicts)) == content(PaddingCollator(0)(alone))


def test_the_labels_of_several_documents_are_cut_with_them():
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [5, 6, 7, 8], "loss_mask": [1, 1, 1, 0], "seq_lengths": [2, 2]}]
    batch = PackingCollator(0)(rows)
    assert batch["labels"].tolist() == [[-100, 6, -100, -100]]
    assert batch["document_ids"].tolist() == [[0, 0, 1, 1]]
    assert batch.record_ids.tolist() == [0, 0]


def test_documents_may_lie_beside_padding():
    rows = [{"input_ids": [9, 1, 2, 3, 9], "attention_mask": [0, 1, 1, 1, 0], "position_ids": [7, 0, 1, 0, 7]}]
    expected = [{"input_ids": [1, 2, 3], "seq_lengths": [2, 1]}]
    for layout in ("rows", "flat"):
        collator = PackingCollator(0, layout=layout)
        assert content(collator(rows)) == content(collator(expected))


@pytest.mark.parametrize("length", [3, np.int64(3), [3], torch.tensor([3])])
@both
def test_one_length_that_is_the_rows_says_nothing_new(collator, length):
    assert content(collator([{"input_ids": [1, 2, 3], "seq_lengths": length}])) == content(collator([[1, 2, 3]]))


@both
def test_weights_of_one_say_nothing_new(collator):
    for weights in ([1, 1.0], np.ones(2), torch.ones(2)):
        assert content(collator([{"input_ids": [1, 2], "weights": weights}])) == content(collator([[1, 2]]))


@both
def test_keys_that_nobody_knows_are_left_alone(collator):
    row = {"input_ids": [1, 2], "text": "ab", "token_type_ids": [0, 0], "length": 2}
    assert content(collator([row])) == content(collator([[1, 2]]))


@both
def test_a_batch_may_have_the_same_columns(collator):
    rows = [[1, 2, 3, 4], [5, 6]]
    said = {"loss_mask": [[1, 1, 1, 0], [1, 1]], "attention_mask": [[0, 1, 1, 1], [1, 1]]}
    dicts = [{"input_ids": row, **{name: said[name][i] for name in said}} for i, row in enumerate(rows)]
    columns = {name: Ragged.from_rows(values) for name, values in said.items()}
    batch = RaggedBatch.from_ragged(Ragged.from_rows(rows, np.uint16), columns=columns)
    assert content(collator(batch)) == content(collator(dicts))
    assert batch.lengths.tolist() == [4, 2]


@both
@pytest.mark.parametrize("form", FORMS)
def test_labels_of_minus_100_are_ignored_under_any_ignore_index(collator, form):
    rows = [{"input_ids": [1, 2, 3], "labels": form([-100, -100, 3])}]
    other = type(collator)(0, ignore_index=0)
    assert other(rows)["labels"].tolist() == [[0, 0, 3]]
    assert other(rows).num_supervised == collator(rows).num_supervised == 1
    batch = RaggedBatch.from_ragged(
        Ragged.from_rows([[1, 2, 3]]), columns={"labels": Ragged.from_rows([[-100, 2, 3]])}
    )
    assert other(batch)["labels"].tolist() == [[0, 2, 3]]


@both
def test_a_prompt_may_be_all_of_its_row(collator):
    other = type(collator)(0, supervise="response")
    assert other([{"input_ids": [1, 2], "prompt_length": 2}])["labels"].tolist() == [[-100, -100]]
