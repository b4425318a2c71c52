"""`StreamLoader`: exact delivered counts, exact resume, and no thread or process left behind."""

import threading

import numpy as np
import pytest
import torch
from batches import content
from torchdata.stateful_dataloader import StatefulDataLoader

from fastcollate import (
    BucketedDataset,
    CollateError,
    InputError,
    PaddingCollator,
    StateError,
    StateMismatchError,
    StreamLoader,
)


def make(store, **arguments):
    return StreamLoader(BucketedDataset(store, batch_size=50), PaddingCollator(256), **arguments)


def ids(batches):
    return [batch.record_ids.tolist() for batch in batches]


def flat(batches):
    return [(b["input_ids"].tolist(), b["attention_mask"].tolist(), b["labels"].tolist()) for b in batches]


@pytest.mark.slow
def test_each_pass_is_one_epoch(store):
    dataset = BucketedDataset(store, batch_size=50)
    loader = make(store)
    for epoch in range(3):
        assert loader.epoch == epoch
        dataset.set_epoch(epoch)
        assert flat(loader) == flat(map(PaddingCollator(256), dataset))
    assert len(loader) == 21
    assert loader.epoch == 3


@pytest.mark.parametrize("device", [None, "cpu", "meta"])
def test_devices_without_pinning_work(store, device):
    batches = list(make(store, device=device))
    assert {batch["input_ids"].device.type for batch in batches} == {device or "cpu"}
    assert sorted(record for batch in ids(batches) for record in batch) == list(range(1003))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_resuming_at_every_batch_of_two_epochs_gives_the_rest(store, workers, device):
    whole = make(store)
    everything = ids(whole) + ids(whole)
    for taken in range(0, len(everything), 1 if workers == 0 else 8):
        loader = make(store, num_workers=workers, device=device)
        seen = []
        while len(seen) < taken:
            for batch in loader:
                seen.append(batch.record_ids.tolist())
                if len(seen) == taken:
                    break
        state = loader.state_dict()
        resumed = make(store, device=device)
        resumed.load_state_dict(state)
        rest = []
        while resumed.epoch < 2:
            rest += ids(resumed)
        assert seen + rest == everything
        loader.close()


def test_the_count_is_of_delivered_batches_whatever_is_ready(store):
    loader = make(store, device="meta", prefetch=8)
    iterator = iter(loader)
    for delivered in range(1, 6):
        next(iterator)
        assert loader.state_dict()["batch"] == delivered
    loader.close()
    assert loader.state_dict()["batch"] == 5


def test_leaving_a_loop_early_and_looping_again_goes_on(store):
    loader, whole = make(store), ids(make(store))
    seen = []
    for _ in range(3):
        for batch, _ in zip(loader, range(5), strict=False):
            seen.append(batch.record_ids.tolist())
    # zip asks for one batch more than it gives each time it ends
    assert seen == whole[:5] + whole[6:11] + whole[12:17]


def test_loading_a_state_moves_an_iteration_in_progress(store):
    whole = ids(make(store))
    for device in ("cpu", "meta"):
        loader = make(store, device=device)
        iterator = iter(loader)
        taken = [next(iterator).record_ids.tolist() for _ in range(4)]
        state = loader.state_dict()
        for _ in range(6):
            next(iterator)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        assert taken + ids(iterator) == whole


def test_a_second_iteration_ends_the_first(store):
    loader = make(store)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    with pytest.raises(StateError, match="another iteration of this loader has begun"):
        next(first)
    assert loader.state_dict()["batch"] == 2


def test_close_ends_the_iteration(store):
    loader = make(store, device="meta")
    iterator = iter(loader)
    next(iterator)
    loader.close()
    assert next(iterator, None) is None


def test_statistics_add_up(store):
    loader = make(store)
    batches = list(loader)
    stats = loader.stats
    assert stats.batches == len(batches) == 21
    assert stats.tokens == store.num_tokens
    assert stats.padding_fraction == pytest.approx(
        1 - store.num_tokens / sum(b["input_ids"].numel() for b in batches)
    )
    assert 0 < stats.seconds_collate <= stats.seconds_waited


class Failing:
    def __init__(self, after):
        self.left = after
        self.collate = PaddingCollator(256)

    def __call__(self, rows):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the collator broke")
        return self.collate(rows)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_exception_in_the_collator_reaches_the_consumer_after_what_came_before(store, device):
    loader = StreamLoader(BucketedDataset(store, batch_size=50), Failing(3), device=device)
    delivered = []
    with pytest.raises(RuntimeError, match="the collator broke") as caught:
        delivered.extend(loader)
    assert "__call__" in [entry.name for entry in caught.traceback]
    assert len(delivered) == 3
    assert loader.state_dict()["batch"] == 3


def test_no_thread_outlives_its_loader(store):
    def prefetching():
        return [t for t in threading.enumerate() if t.name == "fastcollate-prefetch" and t.is_alive()]

    loader = make(store, device="meta")
    next(iter(loader))
    loader.close()
    assert prefetching() == []
    with make(store, device="meta") as other:
        next(iter(other))
    assert prefetching() == []


def test_bad_arguments_are_named(store):
    with pytest.raises(InputError, match="device 'abacus' is unknown to torch"):
        make(store, device="abacus")
    with pytest.raises(InputError, match="transfer is 'bus': it must be 'padded' or 'ragged'"):
        make(store, transfer="bus")
    with pytest.raises(InputError, match="prefetch is 0"):
        make(store, prefetch=0)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device 'cuda' is not here: torch sees 0 CUDA device"):
            make(store, device="cuda")


def test_a_state_of_another_run_is_refused_and_changes_nothing(store):
    loader = make(store)
    iterator = iter(loader)
    first = next(iterator)
    state = loader.state_dict()
    with pytest.raises(StateMismatchError, match="seed 3"):
        loader.load_state_dict({**state, "seed": 3})
    assert loader.state_dict() == state
    assert ids([first, *iterator]) == ids(make(store))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 31, 1003])  # parcels that end with an epoch, before it, after it
def test_parcels_of_several_workers_keep_the_order(store, workers, batch_size):
    whole = make_of(store, batch_size)
    loader = make_of(store, batch_size, num_workers=workers)
    for _ in range(2):
        assert [content(batch) for batch in loader] == [content(batch) for batch in whole]


def make_of(store, batch_size, **arguments):
    dataset = BucketedDataset(store, batch_size=batch_size)
    return StreamLoader(dataset, PaddingCollator(256, supervise="response"), **arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_before_a_wrong_one_are_delivered_and_it_is_named(store, workers):
    batches = list(BucketedDataset(store, batch_size=4))
    longest = [int(batch.lengths.max()) for batch in batches]
    wrong = next(number for number, length in enumerate(longest) if length > 150)
    row = int(np.argmax(batches[wrong].lengths > 150))
    collate = PaddingCollator(256, max_length=150, truncation="error")
    stream = StreamLoader(BucketedDataset(store, batch_size=4), collate, num_workers=workers)
    delivered = iter(stream)
    found = [content(next(delivered)) for _ in range(wrong)]
    assert found == [content(PaddingCollator(256)(batch)) for batch in batches[:wrong]]
    with pytest.raises(CollateError, match=f"row {row} has {batches[wrong].lengths[row]} tokens, more than"):
        next(delivered)
    assert stream.state_dict()["batch"] == wrong


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collator_that_raises_is_our_error(store, workers):
    loader = StreamLoader(
        BucketedDataset(store, batch_size=50),
        PaddingCollator(256, supervise="response", end_token_id=1, max_length=3, truncation="error"),
        num_workers=workers,
    )
    with pytest.raises(CollateError, match="more than the 3 that max_length leaves room for"):
        list(loader)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated", "ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_torchdatas_stateful_loader_resumes_at_every_batch(store, workers):
    def stateful():
        dataset = BucketedDataset(store, batch_size=100)
        return StatefulDataLoader(dataset, batch_size=None, collate_fn=PaddingCollator(256), num_workers=workers)

    whole = ids(stateful())
    for taken in range(1, len(whole)):
        loader = stateful()
        iterator = iter(loader)
        seen = [next(iterator).record_ids.tolist() for _ in range(taken)]
        state = loader.state_dict()
        resumed = stateful()
        resumed.load_state_dict(state)
        assert seen + ids(resumed) == whole
