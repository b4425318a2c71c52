"""The drop-in reproduces the notebook it grew from, to the bit."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import notebook_collate
from torch.utils.data import DataLoader, Dataset

from fastcollate import (
    CollateError,
    EncodingError,
    PaddingCollator,
    PromptTemplate,
    load_encoding,
    padded_collate,
)

P = 50256
ROWS = ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])
DATA = Path(__file__).parents[3] / "shared" / "data" / "instruction-data.json"


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype == torch.int64
        assert torch.equal(a, b)


def test_the_published_example():
    inputs, targets = padded_collate(ROWS)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, P, P, P], [7, 8, 9, P, P]]
    assert targets.tolist() == [[1, 2, 3, 4, P], [6, P, -100, -100, -100], [8, 9, P, -100, -100]]
    assert inputs.dtype == targets.dtype == torch.int64


def test_the_first_draft_makes_inputs_only():
    batch = PaddingCollator(P, labels=False)(ROWS)
    assert batch["input_ids"].tolist() == [[0, 1, 2, 3, 4], [5, 6, P, P, P], [7, 8, 9, P, P]]
    assert list(batch) == ["input_ids", "attention_mask"]


def test_the_second_draft_does_not_mask_padding():
    collator = PaddingCollator(P, ignore_index=None, end_token_id=P, shift_labels=True, as_tuple=True)
    inputs, targets = collator(ROWS)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, P, P, P], [7, 8, 9, P, P]]
    assert targets.tolist() == [[1, 2, 3, 4, P], [6, P, P, P, P], [8, 9, P, P, P]]


def test_cross_entropy_ignores_what_is_masked():
    logits = torch.tensor([[-1.0, 1.0], [-0.5, 1.5]])
    loss = torch.nn.functional.cross_entropy
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(1.1269, abs=5e-5)
    three = torch.tensor([[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]])
    assert loss(three, torch.tensor([0, 1, 1])).item() == pytest.approx(0.7936, abs=5e-5)
    assert loss(three, torch.tensor([0, 1, -100])).item() == pytest.approx(1.1269, abs=5e-5)


@given(
    st.lists(st.lists(st.integers(0, 50255), min_size=1, max_size=12), min_size=1, max_size=6),
    st.none() | st.integers(1, 14),
)
def test_any_rows_give_what_the_notebook_gives(rows, allowed):
    before = [list(row) for row in rows]
    assert_same(
        padded_collate(rows, allowed_max_length=allowed), notebook_collate(rows, allowed_max_length=allowed)
    )
    assert rows == before


def test_a_row_that_holds_the_pad_id_keeps_its_targets():
    inputs, targets = padded_collate([[1, P, 2, P], [3]])
    assert inputs.tolist() == [[1, P, 2, P], [3, P, P, P]]
    assert targets.tolist() == [[P, 2, P, P], [P, -100, -100, -100]]


def test_lists_arrays_and_tensors_may_be_mixed():
    mixed = [[0, 1, 2, 3, 4], np.array([5, 6], np.uint16), torch.tensor([7, 8, 9])]
    assert_same(padded_collate(mixed), padded_collate(ROWS))


def test_a_cuda_device_inside_a_worker_names_both_fixes():
    loader = DataLoader([[1, 2]], batch_size=1, num_workers=1, collate_fn=partial(padded_collate, device="cuda"))
    with pytest.raises(CollateError, match=r"move the batch in the training loop, or set num_workers=0"):
        list(loader)


class Tokenised(Dataset):
    def __init__(self, records):
        encoding = load_encoding("gpt2")
        template = PromptTemplate.named("alpaca")
        documents = [document for record in records for document in template.documents(record)]
        texts = ["".join(segment.text for segment in document.segments) for document in documents]
        self.rows = [encoding.encode(text).tolist() for text in texts]

    def __getitem__(self, index):
        return self.rows[index]

    def __len__(self):
        return len(self.rows)


@pytest.mark.skipif(not DATA.exists(), reason="the instruction data is not here")
def test_the_notebooks_data_loader_gives_the_notebooks_tensors():
    records = json.loads(DATA.read_text())
    try:
        train = Tokenised(records[: int(len(records) * 0.85)])
    except EncodingError:
        pytest.skip("the gpt2 vocabulary is not here")

    def batches(collate_fn):
        torch.manual_seed(123)
        return list(
            DataLoader(train, batch_size=8, collate_fn=collate_fn, shuffle=True, drop_last=True, num_workers=0)
        )

    ours = batches(partial(padded_collate, device=torch.device("cpu"), allowed_max_length=1024))
    theirs = batches(partial(notebook_collate, device=torch.device("cpu"), allowed_max_length=1024))
    assert len(ours) == 116
    widths = [inputs.shape[1] for inputs, _ in ours]
    assert (min(widths), max(widths)) == (57, 91)
    assert sum(inputs.numel() for inputs, _ in ours) == 65_080
    for found, expected in zip(ours, theirs, strict=True):
        assert_same(found, expected)
