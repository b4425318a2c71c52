"""Loops that race must deliver the same: whatever is wrong with the inputs or the labels of one is found."""

import pytest
import torch
from commands import fail

import fastcollate
from fastcollate import Ragged, StoreWriter, TokenStore
from fastcollate.bench import loops
from fastcollate.bench.loops import plain_collate
from fastcollate.bench.race import count_epoch


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("fastcollate.cli.bench._LEAST", 0.0)


@pytest.fixture(scope="session")
def distinct(tmp_path_factory):
    """A store of twenty records, no two tokens of one alike."""
    path = tmp_path_factory.mktemp("distinct") / "store"
    with StoreWriter(path, encoding="bytes") as writer:
        writer.append(Ragged.from_rows([list(range(n, 3 * n)) for n in range(2, 22)]))
    return TokenStore(path)


@pytest.mark.parametrize("loop", ["plain_collate", "hugging_face_collate"])
def test_a_loop_that_delivers_other_records_is_an_error(distinct, monkeypatch, loop):
    collate = getattr(loops, loop)
    monkeypatch.setattr(loops, loop, lambda rows, *rest: collate(rows[1:], *rest))
    assert "these must be equal; please report it" in fail("bench", distinct.path)


def with_swapped_inputs(batch):
    """Two real inputs of the first row change places; count and sum stay as they are."""
    inputs = batch[0] if isinstance(batch, tuple) else batch["input_ids"]
    inputs[0, :2] = inputs[0, :2].flip(0).clone()
    return batch


def with_other_inputs(batch):
    """One real input grows and another shrinks by as much."""
    inputs = batch[0] if isinstance(batch, tuple) else batch["input_ids"]
    inputs[0, :2] += torch.tensor([1, -1])
    return batch


def without_a_label(batch):
    batch["labels"][0, 1] = -100
    return batch


@pytest.mark.parametrize("spoil", [with_swapped_inputs, with_other_inputs])
@pytest.mark.parametrize("loop", ["plain_collate", "hugging_face_collate"])
def test_a_loop_with_wrong_inputs_and_the_right_labels_is_an_error(distinct, monkeypatch, loop, spoil):
    collate = getattr(loops, loop)
    monkeypatch.setattr(loops, loop, lambda *args: spoil(collate(*args)))
    assert "and the hash" in fail("bench", distinct.path)


@pytest.mark.parametrize("spoil", [with_swapped_inputs, with_other_inputs, without_a_label])
@pytest.mark.parametrize("collator", ["PaddingCollator", "PackingCollator"])
def test_wrong_batches_of_ours_are_an_error(distinct, monkeypatch, collator, spoil):
    ours = getattr(fastcollate, collator)
    collate = ours.collate
    monkeypatch.setattr(ours, "collate", lambda *args: list(map(spoil, collate(*args))))
    assert "these must be equal; please report it" in fail("bench", distinct.path)


def test_what_is_equal_is_known_in_any_order_and_however_it_is_batched():
    rows = [[1, 2, 3], [4, 5], [6, 6, 2, 1]]
    one = count_epoch(iter([plain_collate(rows, 0, 0)]))
    other = count_epoch(plain_collate([row], 0, 0) for row in reversed(rows))
    assert (one[2:], one.batches, other.batches) == (other[2:], 1, 3)
    assert one[2:4] == (9, 30)
    assert 0 <= one.pair_hash < 2**53
