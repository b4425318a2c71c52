"""`PackedDataset`: packs anew each epoch, resumes everywhere, and names what it cannot pack."""

from functools import partial
from itertools import islice

import pytest
from contracts import assert_exactly_once, assert_resumes_everywhere, assert_same_stream
from stores import write_store
from torch.utils.data import DataLoader

from fastcollate import (
    BucketedDataset,
    CollateError,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    PlanError,
    StateMismatchError,
    StreamLoader,
    mix,
)


def content(batches):
    return [(b["input_ids"].tolist(), b["labels"].tolist(), b["document_ids"].tolist()) for b in batches]


def collated(dataset):
    return content(map(PackingCollator(256), dataset))


@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_real_tokens_are_delivered_exactly_once(store, strategy):
    dataset = PackedDataset(store, length=256, batch_size=4, strategy=strategy)
    batches = [PackingCollator(256)(batch) for batch in dataset]
    assert sum(batch.num_tokens for batch in batches) == store.num_tokens
    found = sorted(t for b in batches for t in b["input_ids"][b["document_ids"] >= 0].tolist())
    assert found == sorted(t for i in range(len(store)) for t in store[i].tolist())
    assert {batch["input_ids"].shape[1] for batch in batches} == {256}
    assert {tuple(batch["input_ids"].shape) for batch in batches} == set(dataset.shapes)
    assert len(dataset) == len(batches)
    packs = sum(batch["input_ids"].shape[0] for batch in batches)
    assert packs <= -(-store.num_tokens // 256) + 1


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_every_token_comes_once_over_all_ranks(store, strategy, world_size):
    assert_exactly_once(partial(PackedDataset, store, length=256, batch_size=4, strategy=strategy), world_size)


@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_packs_differ_each_epoch_and_come_back(store, strategy):
    dataset = PackedDataset(store, length=256, strategy=strategy)
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(collated(dataset))
    assert epochs[0] == epochs[2]
    first, second = ({str(batch) for batch in epoch} for epoch in epochs[:2])
    assert len(first & second) < len(first) / 10  # a few long records have one best partner


@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_it_resumes_at_every_batch_with_workers_and_in_a_loader(store, strategy):
    def make(**world):
        return PackedDataset(store, length=300, batch_size=3, strategy=strategy, window=400, **world)

    assert_resumes_everywhere(make, epochs=(0,))
    collate = PackingCollator(256)
    expected = list(map(collate, make()))
    assert_same_stream(DataLoader(make(), batch_size=None, num_workers=2, collate_fn=collate), expected)
    assert_same_stream(StreamLoader(make(), collate), expected)
    with pytest.raises(StateMismatchError, match="length 300, this dataset has 301"):
        PackedDataset(store, length=301, batch_size=3, strategy=strategy).load_state_dict(make().state_dict())


def test_ranks_share_the_epoch(store):
    datasets = [PackedDataset(store, length=256, batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    batches = [[PackingCollator(256)(batch) for batch in dataset] for dataset in datasets]
    assert len({len(share) for share in batches}) == 1
    assert sum(batch.num_tokens for share in batches for batch in share) == store.num_tokens


def test_a_filler_pack_is_all_padding(tmp_path):
    tiny = write_store(tmp_path / "tiny", [3, 2])
    batches = [
        PackingCollator(256)(batch)
        for rank in range(3)
        for batch in PackedDataset(tiny, length=8, rank=rank, world_size=3)
    ]
    assert sorted(batch.num_tokens for batch in batches) == [0, 2, 3]
    empty = next(batch for batch in batches if batch.num_tokens == 0)
    assert empty["input_ids"].tolist() == [[256] * 8]
    assert empty["labels"].tolist() == [[-100] * 8]
    assert empty["document_ids"].tolist() == [[-1] * 8]


def test_a_mixture_can_be_packed(store):
    mixture = mix([(store, 1.5)])
    dataset = PackedDataset(mixture, length=256, batch_size=2)
    count = len(dataset)
    batches = [PackingCollator(256, supervise="response")(batch) for batch in dataset]
    assert sum(batch.num_tokens for batch in batches) > store.num_tokens
    assert count == len(batches)


@pytest.mark.parametrize("overlong", ["truncate", "drop", "split"])
def test_overlong_records_are_treated_as_asked(store, overlong):
    batches = [PackingCollator(256)(b) for b in PackedDataset(store, length=50, overlong=overlong)]
    kept = {
        "truncate": sum(min(n, 50) for n in store.lengths.tolist()),
        "drop": sum(n for n in store.lengths.tolist() if n <= 50),
        "split": store.num_tokens,
    }
    assert sum(batch.num_tokens for batch in batches) == kept[overlong]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 100}, r"record \d+ has \d+ tokens, more than a pack of 100: raise length, or choose overlong"),
        ({"length": 1}, "length is 1: it must be an integer, at least 2"),
        ({"length": 2.5}, r"length is 2\.5: it must be an integer"),
        ({"length": 256, "batch_size": 0}, "batch_size is 0: it must be an integer, at least 1"),
        ({"length": 256, "strategy": "first_fit"}, "strategy is 'first_fit': it must be 'best_fit' or 'wrap'"),
        ({"length": 256, "overlong": "wrap"}, "overlong is 'wrap': it must be 'error'"),
        ({"length": 256, "window": 0}, "window is 0: it must be an integer, at least 1"),
    ],
)
def test_bad_arguments_are_named(store, arguments, message):
    with pytest.raises(PlanError, match=message):
        PackedDataset(store, **arguments)


def test_the_named_record_is_the_first_that_is_too_long(store):
    first = next(i for i, n in enumerate(store.lengths.tolist()) if n > 100)
    with pytest.raises(PlanError, match=f"record {first} has {store.lengths[first]} tokens"):
        PackedDataset(store, length=100)


def test_a_record_that_a_mixture_brings_only_later_is_refused_at_once(tmp_path):
    long = write_store(tmp_path / "long", [*([2] * 99), 50])
    for seed in range(4):
        with pytest.raises(PlanError, match=r"record( \d+)? has 50 tokens, more than a pack of 20"):
            PackedDataset(mix([(long, 0.1)]), length=20, seed=seed)


def test_empty_stores_and_stores_without_spans_are_errors(store, tmp_path):
    with pytest.raises(PlanError, match="the store has no records"):
        PackedDataset(store.split({"none": 0.0})["none"], length=8)
    plain = write_store(tmp_path / "plain", [3, 4])
    with pytest.raises(CollateError, match="needs rows that know their response"):
        PackingCollator(256, supervise="response")(next(iter(PackedDataset(plain, length=8))))


def test_packs_are_not_padded_by_mistake(store):
    with pytest.raises(CollateError, match="packs of documents: collate it with a PackingCollator"):
        PaddingCollator(256)(next(iter(PackedDataset(store, length=256))))


def test_a_state_of_another_balance_does_not_fit(store):
    state = PackedDataset(store, length=256).state_dict()
    assert state["fingerprint"]["balance"] == 24_576
    with pytest.raises(StateMismatchError, match="taken with balance 24576, this dataset has None"):
        PackedDataset(store, length=256, balance=None).load_state_dict(state)


@pytest.mark.parametrize("strategy", ["best_fit", "wrap"])
def test_a_chain_of_world_sizes_delivers_every_balanced_pack_once(store, strategy):
    state, found = None, []
    for world_size, steps in ((8, 3), (4, 4), (16, 2), (3, 5), (1, None)):
        taken, states = [], []
        for rank in range(world_size):
            dataset = PackedDataset(
                store, length=300, strategy=strategy, window=400, rank=rank, world_size=world_size
            )
            if state is not None:
                dataset.load_state_dict(state)
            taken.append(list(islice(dataset, steps)))
            states.append(dataset.state_dict())
        assert len(set(map(len, taken))) == 1
        assert states[1:] == states[:-1]
        assert states[0]["group"] == 8
        state = states[0]
        found += [batch for batches in taken for batch in batches]
    tokens = sum(int(batch.lengths.sum()) for batch in found)
    assert tokens == store.num_tokens
    assert {record for batch in found for record in batch.record_ids.tolist()} - {-1} == set(range(len(store)))


def test_a_bucketed_state_does_not_fit(store):
    with pytest.raises(
        StateMismatchError, match="taken with plan 'row buckets', this dataset has 'best-fit packs'"
    ):
        PackedDataset(store, length=256).load_state_dict(BucketedDataset(store, batch_size=16).state_dict())
