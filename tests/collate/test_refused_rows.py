"""What rows say about themselves and cannot be honoured is refused, by name and row."""

import numpy as np
import pytest
import torch
from test_row_columns import FORMS, MASKS, both

from fastcollate import CollateError, PackingCollator, PaddingCollator, Ragged, RaggedBatch
from fastcollate.ragged import Packs


def refuses(collator, rows, message):
    with pytest.raises(CollateError, match=message):
        collator(rows)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"labels": [1, -100]}, "the rows have labels of -100, but ignore_index=None leaves nothing to mark"),
        ({"loss_mask": [1, 0]}, "the rows have a loss_mask, but ignore_index=None leaves nothing to mark"),
        ({"completion_mask": [1, 1]}, "the rows have a completion_mask, but ignore_index=None"),
    ],
)
def test_without_an_ignore_index_nothing_can_be_left_out(said, message):
    refuses(PaddingCollator(0, ignore_index=None), [{"input_ids": [1, 2], **said}], message)
    assert "labels" not in PaddingCollator(0, ignore_index=None, labels=False)([{"input_ids": [1, 2], **said}])


@both
@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"attention_mask": [1, 0, 1]},
            "row 1 has a zero in its attention_mask between ones, at token 1: zeros are",
        ),
        ({"attention_mask": [0, 0, 0]}, "row 1 has an attention_mask of zeros: a row needs at least one token"),
        ({"attention_mask": [1, 1]}, "row 1 has 3 input_ids and 2 values of attention_mask: one a token"),
        ({"attention_mask": [1, 2, 1]}, "attention_mask of row 1 holds 2: it is 0 or 1 for each token"),
        ({"attention_mask": [1.0, 1, 1]}, r"attention_mask of row 1 is a list with 1\.0: rows are flat sequences"),
        ({"loss_mask": [1, 1, 1, 1]}, "row 1 has 3 input_ids and 4 values of loss_mask: one a token"),
        ({"completion_mask": [0, -1, 1]}, "completion_mask of row 1 holds -1: it is 0 or 1 for each token"),
        ({"assistant_masks": [[1]]}, r"assistant_masks of row 1 is a list with \[1\]"),
        ({"weights": [1, 0.5, 1]}, "row 1 has weights other than 1: labels cannot hold them; leave out 'weights'"),
        ({"weights": None}, "row 1 has weights other than 1"),
        (
            {"position_ids": [0, 1, 3]},
            "position_ids of row 1 hold 3 at token 2: they count from 0, and begin again",
        ),
        ({"position_ids": [1, 2, 3]}, "position_ids of row 1 hold 1 at token 0"),
        ({"position_ids": [0, 1]}, "row 1 has 3 input_ids and 2 position_ids: one a token"),
        ({"seq_lengths": [2, 2]}, r"row 1 has seq_lengths \[2, 2\] and 3 tokens: they are the lengths of its"),
        ({"seq_lengths": [3, 0]}, r"row 1 has seq_lengths \[3, 0\] and 3 tokens"),
        ({"seq_lengths": []}, r"row 1 has seq_lengths \[\] and 3 tokens"),
        (
            {"position_ids": [0, 1, 0], "seq_lengths": [1, 2]},
            r"row 1 has seq_lengths \[1, 2\], but by its position_ids",
        ),
        (
            {"prompt_length": 4},
            "prompt_length of row 1 is 4: the row has 3 tokens, and a prompt is a part of its row",
        ),
        ({"prompt_length": -1}, "prompt_length of row 1 is -1: it must be an integer, at least 0"),
        ({"prompt_length": 2, "spans": [(1, 3)]}, r"row 1 has spans \[1, 3\] and a prompt_length of 2: spans lie"),
        (
            {"labels": [1, -5, 2]},
            "labels of row 1 hold -5: a label is a token id, or -100 where there is no target",
        ),
        ({"labels": [1, 2]}, "row 1 has 3 input_ids and 2 labels: one a token"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(collator, said, message):
    fitting = {
        "attention_mask": [1, 1],
        "weights": [1, 1],
        "position_ids": [0, 1],
        "seq_lengths": [2],
        "prompt_length": 2,
        "spans": [],
        "labels": [1, 2],
        **{name: [1, 1] for name in MASKS},
    }
    first = {"input_ids": [1, 2], **{name: fitting[name] for name in said}}
    refuses(collator, [first, {"input_ids": [1, 2, 3], **said}], message)


@both
@pytest.mark.parametrize(
    "name", ["labels", "attention_mask", "loss_mask", "weights", "position_ids", "seq_lengths"]
)
def test_a_column_is_given_for_every_row_or_for_none(collator, name):
    refuses(
        collator, [{"input_ids": [1], name: [1]}, {"input_ids": [2]}], f"row 1 has no '{name}' while others do"
    )


@pytest.mark.parametrize("said", [{"position_ids": [0, 1, 0]}, {"seq_lengths": [2, 1]}])
def test_padding_refuses_rows_of_several_documents(said):
    message = rf"row 0 holds several documents, of \[2, 1\] tokens by its {next(iter(said))}: .* a PackingCollator"
    refuses(PaddingCollator(0), [{"input_ids": [1, 2, 3], **said}], message)


def test_labels_may_be_negative_where_that_is_the_ignore_index():
    rows = [{"input_ids": [1, 2, 3], "labels": [-1, -100, 3]}]
    assert PaddingCollator(0, ignore_index=-1)(rows)["labels"].tolist() == [[-1, -1, 3]]
    refuses(
        PaddingCollator(0, ignore_index=-2),
        rows,
        "labels of row 0 hold -1: a label is a token id, or -100 or -2 where there is no target",
    )


@both
@pytest.mark.parametrize("form", FORMS)
def test_negative_token_ids_are_refused(collator, form):
    rows = [form([1, 2]), form([3, -7, 4])]
    refuses(collator, rows, "row 1 holds -7: a token id is 0 or more; padding is the collator's work")
    refuses(collator, [{"input_ids": row} for row in rows], "input_ids of row 1 holds -7")


@both
def test_a_batch_inside_a_list_names_the_fix(collator):
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2]]))
    fixes = r"use DataLoader\(dataset, batch_size=None, .* class MyTrainer\(.*StreamMixin, Trainer\)"
    refuses(collator, [batch], "a list that holds a RaggedBatch.*: " + fixes)


@both
@pytest.mark.parametrize("name", ["attention_mask", "position_ids"])
def test_packs_say_themselves_where_tokens_lie(collator, name):
    packs = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2]]), columns={name: Ragged.from_rows([[0, 1]])})
    batch = packs.laid_out(width=None, packs=Packs.of(packs.lengths, np.array([0, 1])))
    message = (
        f"the batch is packs with .*{name}" if isinstance(collator, PackingCollator) else "is packs of documents"
    )
    refuses(collator, batch, message)


def test_tensors_of_any_kind_are_read_or_refused_by_name():
    with pytest.raises(CollateError, match=r"the batch is .* one value: give a list of rows"):
        PaddingCollator(0)(torch.tensor(3))
    row = {"input_ids": [1, 2], "weights": torch.ones(2, dtype=torch.bfloat16)}
    assert PaddingCollator(0)([row])["input_ids"].tolist() == [[1, 2]]
    with pytest.raises(CollateError, match="row 0 has spans"):
        PaddingCollator(0)([{"input_ids": [1, 2], "spans": torch.ones(2, dtype=torch.bfloat16)}])
