"""Collators of one's own: called, or staged where they say how; what only overrides the call is called."""

import pytest
import torch

from fastcollate import BucketedDataset, CollateError, InputError, PaddingCollator, Ragged, StreamLoader
from fastcollate.loader.feeds import fills_memory

ROWS = Ragged.from_rows([[i + 1] * (i % 5 + 1) for i in range(40)])


class Marked(PaddingCollator):
    def __call__(self, rows):
        return {**super().__call__(rows), "mark": torch.ones(2)}


class Doubled(PaddingCollator):
    def collate(self, rows, allocate):
        batches = super().collate(rows, allocate)
        for batch in batches:
            batch["input_ids"] *= 2
        return batches


class Own:
    """Keeps the protocol, and is derived from nothing of ours."""

    columns = frozenset({"labels"})

    def __init__(self):
        self.inner = PaddingCollator(0)
        self.asked = []

    def __call__(self, rows):
        raise AssertionError("it fills given memory: nobody need call it")

    def collate(self, parcel, allocate):
        self.asked.append((len(parcel), sorted(parcel.columns)))
        return self.inner.collate(parcel, allocate)

    def stage(self, parcel, allocate):
        self.asked.append((len(parcel), sorted(parcel.columns)))
        return self.inner.stage(parcel, allocate)


def loader(collate, **arguments):
    return StreamLoader(BucketedDataset(ROWS, batch_size=4), collate, **arguments)


def tensors(batches):
    return [batch["input_ids"].tolist() for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_a_subclass_overrides_is_what_happens(num_workers):
    plain = tensors(loader(PaddingCollator(0), num_workers=num_workers))
    marked = loader(Marked(0), num_workers=num_workers)
    assert all(torch.equal(batch["mark"], torch.ones(2)) for batch in marked)
    doubled = [[[2 * token for token in row] for row in batch] for batch in plain]
    assert tensors(loader(Doubled(0), num_workers=num_workers)) == doubled
    assert [fills_memory(c) for c in (PaddingCollator(0), Doubled(0), Own(), Marked(0), print)] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_a_collator_that_keeps_the_protocol_fills_given_memory(transfer):
    own = Own()
    assert tensors(loader(own, transfer=transfer)) == tensors(loader(PaddingCollator(0)))
    assert own.asked == [(1, []), (4, []), (5, [])]
    with pytest.raises(InputError, match="transfer='ragged' with a Marked: only collators that can `stage`"):
        loader(Marked(0), transfer="ragged")


def ending(batch):
    if 3 in batch.record_ids:
        raise StopIteration
    return {"input_ids": torch.zeros(1)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collator_that_raises_the_end_of_an_iterator_ends_no_epoch(workers):
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(loader(ending, num_workers=workers))


def test_what_cannot_be_called_is_refused_at_once():
    with pytest.raises(InputError, match="collate_fn is None: give what makes a batch of rows"):
        loader(None)


class OneBatch(PaddingCollator):
    def collate(self, rows, allocate):
        return super().collate(rows, allocate)[0]


def test_a_collator_that_returns_no_list_is_told_so():
    with pytest.raises(CollateError, match="OneBatch made a Batch of 3 of a parcel of 1 batches"):
        next(iter(loader(OneBatch(0))))


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_a_batch_is_changed_alone(transfer):
    """Also where another batch of its parcel is saved for a gradient."""
    weights = torch.ones(41, 2, requires_grad=True)
    batches = list(loader(PaddingCollator(0), transfer=transfer))
    loss = torch.nn.functional.embedding(batches[2]["input_ids"], weights).sum()
    batches[3]["input_ids"] += 1
    loss.backward()
    assert weights.grad.sum() == 2 * batches[2]["input_ids"].numel()


class Filled(PaddingCollator):
    def fill(self, rows, allocate):
        arrays, build = super().fill(rows, allocate)
        arrays["input_ids"] += 1000
        return arrays, build


class Losing(PaddingCollator):
    def fill(self, rows, allocate):
        arrays, build = super().fill(rows, allocate)
        return arrays, build._replace(rows=build.rows[1:], record_ids=build.record_ids[4:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_fill_of_ones_own_fills_every_batch(num_workers):
    plain = tensors(loader(PaddingCollator(0)))
    moved = [[[1000 + token for token in row] for row in batch] for batch in plain]
    assert tensors(loader(Filled(0), num_workers=num_workers)) == moved
    assert Filled(0)([[1], [2]])["input_ids"].tolist() == [[1001], [1002]]


def test_a_worker_that_loses_a_batch_is_told():
    with pytest.raises((CollateError, ValueError), match=r"batches|shorter|argument"):
        list(loader(Losing(0), num_workers=2))
