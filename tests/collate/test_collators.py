"""What both collators are as objects: arguments, columns, copies, subclasses, and a user's own."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import content

from fastcollate import Batch, BucketedDataset, CollateError, PackingCollator, PaddingCollator, Ragged, RaggedBatch
from fastcollate.collate.staged import Collator, new_arrays
from fastcollate.ragged import Parcel, Rows, Scattered

COLLATORS = [
    PaddingCollator(0),
    PaddingCollator(9, end_token_id=9, shift_labels=True, as_tuple=True, max_length=2),
    PackingCollator(0),
    PackingCollator(0, layout="flat"),
]
all_of_them = pytest.mark.parametrize("collator", COLLATORS, ids=lambda c: type(c).__name__)
copies = pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
    ids=["copy", "deepcopy", "pickle"],
)
ROWS = [[1, 2, 3], [4]]


@all_of_them
@copies
def test_a_collator_survives_copies_and_pickling(collator, again):
    collator(ROWS)
    assert content(again(collator)(ROWS)) == content(collator(ROWS))


@all_of_them
@copies
def test_a_batch_survives_copies_and_pickling(collator, again):
    batch = collator(ROWS)
    other = again(batch)
    assert type(other) is type(batch)
    assert content(other) == content(batch)


@copies
def test_a_batch_that_is_shallowly_copied_shares_its_tensors_alone(again):
    batch = PaddingCollator(0)(ROWS)
    other = again(batch)
    other["weights"] = torch.ones(2, 3)
    assert "weights" not in batch
    assert (other["input_ids"] is batch["input_ids"]) is (again is copy.copy)


@pytest.mark.parametrize(
    ("collator", "columns"),
    [
        (PaddingCollator(0), {"labels"}),
        (PaddingCollator(0, supervise="response"), {"labels", "spans"}),
        (PaddingCollator(0, labels=False), set()),
        (PackingCollator(0), {"labels"}),
        (PackingCollator(0, supervise="response"), {"labels", "spans"}),
    ],
)
def test_a_collator_says_which_columns_it_reads(collator, columns):
    assert isinstance(collator.columns, frozenset)
    assert collator.columns == columns


@pytest.mark.parametrize("kind", [PaddingCollator, PackingCollator])
@pytest.mark.parametrize("name", ["shift_labels", "labels", "as_tuple", "attention_mask"])
def test_a_flag_is_true_or_false(kind, name):
    if (name == "attention_mask") is (kind is PackingCollator):
        with pytest.raises(CollateError, match=f"{name} is 'no': it must be True or False"):
            kind(0, **{name: "no"})
        assert getattr(kind(0, **{name: np.bool_(True)}), name) is True


@pytest.mark.parametrize("kind", [PaddingCollator, PackingCollator])
def test_token_ids_may_be_any_integer_but_no_boolean(kind):
    assert kind(-1).pad_token_id == -1
    with pytest.raises(CollateError, match="pad_token_id is True: it must be an integer, of at most 64 bits"):
        kind(True)
    with pytest.raises(CollateError, match="pad_token_id is 9223372036854775808: it must be an integer"):
        kind(2**63)


class Marked(PaddingCollator):
    """A subclass that overrides `collate` alone."""

    def collate(self, rows, allocate):
        batches = super().collate(rows, allocate)
        for batch in batches:
            batch["marked"] = torch.ones(len(batch.record_ids))
        return batches


def test_a_subclass_may_override_collate_alone():
    for collator in (Marked(0), pickle.loads(pickle.dumps(Marked(0)))):
        assert list(collator(ROWS)) == ["input_ids", "attention_mask", "labels", "marked"]
        (batch,) = collator.collate(ROWS, new_arrays)
        assert list(batch) == ["input_ids", "attention_mask", "labels", "marked"]


class Reversed:
    """A user's own collator: ours, over rows turned round."""

    columns = frozenset({"labels"})

    def __init__(self):
        self.inner = PaddingCollator(0)

    def turned(self, parcel):
        rows = Ragged.from_rows([row[::-1] for row in parcel.tokens.joined()], np.uint16)
        return replace(parcel, tokens=Scattered.of(Rows.of(rows)))

    def __call__(self, batch):
        return self.collate(Parcel.of(batch), new_arrays)[0]

    def collate(self, parcel, allocate):
        return self.inner.collate(self.turned(parcel), allocate)

    def stage(self, parcel, allocate):
        return self.inner.stage(self.turned(parcel), allocate)


def test_a_users_own_collator_keeps_the_same_protocol():
    own: Collator = Reversed()
    batch = RaggedBatch.from_ragged(Ragged.from_rows(ROWS, np.uint16))
    staged = own.stage(Parcel.of(batch), new_arrays)
    (built,) = staged.build({name: torch.from_numpy(array) for name, array in staged.arrays.items()})
    assert content(built) == content(own(batch)) == content(PaddingCollator(0)([[3, 2, 1], [4]]))


@pytest.mark.parametrize("kind", [PaddingCollator, PackingCollator])
def test_tensors_lie_where_they_are_told_to(kind):
    made = []

    def allocate(wanted):
        made.append(new_arrays(wanted))
        return made[-1]

    (batch,) = kind(0).collate(ROWS, allocate)
    (arrays,) = made
    for name, array in arrays.items():
        assert np.shares_memory(batch[name].numpy(), array), name


def test_pieces_of_records_know_their_spans():
    whole = RaggedBatch.from_ragged(Ragged.from_rows([[1, 2, 3, 4, 5]]), spans=Ragged.from_rows([[1, 2, 3, 5]]))
    piece = whole.cut(np.array([1]), np.array([3]))
    again = piece.cut(np.array([1]), np.array([2]))
    for collator in (PaddingCollator(0, supervise="response"), PackingCollator(0, supervise="response")):
        assert collator(piece)["labels"][0, 1:].tolist() == [-100, 4]
        assert collator(again)["labels"][0, 1:].tolist() == [4]
    for truncation, kept in (("left", [4]), ("keep_end", [4]), ("right", [-100])):
        collator = PaddingCollator(0, supervise="response", max_length=2, truncation=truncation)
        assert collator(piece)["labels"][0, 1:].tolist() == kept


def test_a_batch_shows_its_shapes():
    assert repr(PaddingCollator(0)(ROWS)) == (
        "Batch(input_ids: int64[2, 3], attention_mask: int64[2, 3], labels: int64[2, 3]; 4 tokens, 2 supervised)"
    )
    flat = repr(PackingCollator(0, layout="flat")(ROWS))
    assert "cu_seqlens: int32[3], max_seqlen: 3; 4 tokens, 2 supervised)" in flat
    assert repr(Batch({})) == "Batch(; -1 tokens, -1 supervised)"


@pytest.mark.parametrize("kind", [PaddingCollator, PackingCollator])
def test_a_batch_of_fillers_has_nothing_to_weigh(kind):
    batch = RaggedBatch.from_ragged(Ragged.from_rows([[], []], np.uint16), record_ids=np.array([-1, -1]), width=4)
    found = kind(0)(batch)
    assert (found.num_tokens, found.num_supervised) == (0, 0)
    assert found["labels"].eq(-100).all()


def test_a_collator_that_overrides_how_batches_are_made_is_asked_for_each():
    class Named(PaddingCollator):
        def collate(self, rows, allocate):
            return [{**batch, "name": 1} for batch in super().collate(rows, allocate)]

    (batch,) = BucketedDataset(Ragged.from_rows([[1, 2], [3]]), batch_size=2)
    assert Named(0)(batch)["name"] == Named(0)([[1, 2], [3]])["name"] == 1
