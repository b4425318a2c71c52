"""A step of the optimizer: several batches of each rank, alike, and counted over all ranks beforehand."""

import json
from itertools import islice, pairwise

import pytest
from torch.utils.data import DataLoader

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    PlanError,
    StateError,
    StateMismatchError,
    StreamLoader,
)

RESPONSE = {"supervise": "response"}
CASES = {
    "padded": (lambda s, **w: BucketedDataset(s, batch_size=7, window=200, **w), PaddingCollator(256)),
    "response, cut": (
        lambda s, **w: BucketedDataset(s, max_tokens=900, window=150, max_length=90, **w),
        PaddingCollator(256, max_length=80, truncation="keep_end", end_token_id=7, **RESPONSE),
    ),
    "shifted, static": (
        lambda s, **w: BucketedDataset(s, max_tokens=1500, buckets=4, window=150, **w),
        PaddingCollator(256, shift_labels=True, max_length=100, **RESPONSE),
    ),
    "packed": (lambda s, **w: PackedDataset(s, length=256, window=150, **w), PackingCollator(256, **RESPONSE)),
    "wrapped, flat": (
        lambda s, **w: PackedDataset(s, length=256, batch_size=2, strategy="wrap", window=150, **w),
        PackingCollator(256, layout="flat", **RESPONSE),
    ),
    "split, marked by a token": (
        lambda s, **w: PackedDataset(s, length=50, overlong="split", window=150, **w),
        PackingCollator(256, ignore_index=3),
    ),
}


def ranks_of(make, store, world_size, accumulate):
    return [make(store, rank=rank, world_size=world_size, accumulate=accumulate) for rank in range(world_size)]


def check_steps(streams, accumulate):
    """Every batch says of its step what all batches of the step have together."""
    assert len(set(map(len, streams))) == 1
    assert len(streams[0]) % accumulate == 0
    for first in range(0, len(streams[0]), accumulate):
        step = [batch for stream in streams for batch in stream[first : first + accumulate]]
        tokens, targets = (sum(getattr(b, f"num_{name}") for b in step) for name in ("tokens", "supervised"))
        assert {(b.step_num_tokens, b.step_num_supervised) for b in step} == {(tokens, targets)}
        for stream in streams:
            assert [b.micro for b in stream[first : first + accumulate]] == list(range(accumulate))


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("world_size", "accumulate"), [(3, 1), (1, 4), (4, 3)])
def test_every_batch_knows_what_its_step_has(store, kind, world_size, accumulate):
    make, collator = CASES[kind]
    ranks = ranks_of(make, store, world_size, accumulate)
    promised = [len(dataset) for dataset in ranks]
    streams = [list(map(collator, dataset)) for dataset in ranks]
    assert list(map(len, streams)) == promised
    check_steps(streams, accumulate)
    loaded = [list(StreamLoader(dataset, collator)) for dataset in ranks_of(make, store, world_size, accumulate)]
    check_steps(loaded, accumulate)
    for mine, theirs in zip(streams, loaded, strict=True):
        assert [b.record_ids.tolist() for b in mine] == [b.record_ids.tolist() for b in theirs]


@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_workers_bring_the_same_numbers(store, kind):
    make, collator = CASES[kind]

    def numbers(batches):
        return [(b.record_ids.tolist(), b.micro, b.step_num_tokens, b.step_num_supervised) for b in batches]

    def dataset():
        return make(store, rank=1, world_size=2, accumulate=3)

    expected = numbers(StreamLoader(dataset(), collator))
    with StreamLoader(dataset(), collator, num_workers=2) as loader:
        assert numbers(loader) == expected
    assert numbers(DataLoader(dataset(), batch_size=None, collate_fn=collator, num_workers=2)) == expected


def steps_from(make, store, world_size, accumulate, *, state=None, batches=None):
    """The records of each step, from a state on, and the state then."""
    streams, states = [], []
    for dataset in ranks_of(make, store, world_size, accumulate):
        if state is not None:
            dataset.load_state_dict(json.loads(json.dumps(state)))
        streams.append([b.record_ids.tolist() for b in islice(dataset, batches)])
        states.append(dataset.state_dict())
    assert states[1:] == states[:-1]
    return list(zip(*streams, strict=True)), states[0]


def records_of(micros):
    return sorted(record for micro in micros for ids in micro for record in ids if record >= 0)


@pytest.mark.parametrize("kind", ["padded", "response, cut", "packed", "wrapped, flat"])
@pytest.mark.parametrize("taken", [1, 2, 4, 6, 8])
def test_a_run_on_half_the_ranks_keeps_every_step_to_the_record(store, kind, taken):
    make, _ = CASES[kind]
    whole, _ = steps_from(make, store, 4, 2)
    steps = [records_of(whole[first : first + 2]) for first in range(0, len(whole), 2)]
    begun, state = steps_from(make, store, 4, 2, batches=taken)
    assert state["step"] == [8, taken % 2 * 4]
    rest, _ = steps_from(make, store, 2, 4, state=state)
    micros = [[step] for step in begun] + [rest[at : at + 2] for at in range(0, len(rest), 2)]
    found = [records_of(a + b) for a, b in zip(micros[::2], micros[1::2], strict=True)]
    assert found == steps


def test_other_steps_begin_where_one_ends_and_nowhere_else(store):
    make, _ = CASES["padded"]
    _, middle = steps_from(make, store, 4, 2, batches=3)
    for world_size, accumulate, message in (
        (3, 2, "after 4 of the 8 batches of a step, this dataset has steps of 6"),
        (8, 1, "which 8 ranks cannot have delivered"),
    ):
        dataset = make(store, rank=0, world_size=world_size, accumulate=accumulate)
        with pytest.raises(StateMismatchError, match=message):
            dataset.load_state_dict(middle)
    with pytest.raises(StateError, match="the state's step is"):
        make(store, rank=0, world_size=4, accumulate=2).load_state_dict({**middle, "step": [8, 9]})
    begun, state = steps_from(make, store, 4, 2, batches=4)
    for world_size, accumulate in ((3, 2), (8, 1), (1, 5), (2, 1)):
        rest, _ = steps_from(make, store, world_size, accumulate, state=state)
        assert records_of(begun) + records_of(rest) != []
        assert sorted(records_of(begun) + records_of(rest)) == list(range(len(store)))
        assert len(rest) % accumulate == 0


def test_the_largest_batches_of_a_step_come_first(store):
    ranks = ranks_of(CASES["padded"][0], store, 2, 4)
    longest = [[int(b.lengths.max(initial=0)) for b in dataset] for dataset in ranks]
    for first in range(0, len(longest[0]) - 4, 4):
        micros = [[stream[first + m] for stream in longest] for m in range(4)]
        assert all(min(a) >= max(b) for a, b in pairwise(micros))


def test_without_a_plan_a_batch_is_its_own_step():
    batch = PaddingCollator(0)([[5, 6, 7], [8]])
    assert (batch.micro, batch.step_num_tokens, batch.step_num_supervised) == (0, 4, 2)


@pytest.mark.parametrize("wrong", [0, -1, True, 2.5, "4"])
def test_a_step_of_no_batches_is_refused(store, wrong):
    for make in (CASES["padded"][0], CASES["packed"][0]):
        with pytest.raises(PlanError, match=r"accumulate is .*: it must be an integer, from 1 to"):
            make(store, accumulate=wrong)
