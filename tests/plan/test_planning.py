"""What can be asked of a plan: defaults, checks that name the argument, and the argument list as a fingerprint."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from plans import Known, global_batches

from fastcollate import PlanError
from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.plan.planning import check_world, plan_buckets, plan_packs
from fastcollate.plan.state import Landmark

RECORDS = Known([3, 9, 4, 8, 30])
KINDS = [
    (RowBuckets, "row buckets", lambda **more: buckets(batch_size=2, **more)),
    (TokenBuckets, "token buckets", lambda **more: buckets(max_tokens=60, **more)),
    (BestFitPacks, "best-fit packs", lambda **more: packs(length=32, **more)),
    (WrappedPacks, "wrapped packs", lambda **more: packs(length=32, strategy="wrap", **more)),
]


def buckets(records=RECORDS, **arguments):
    return plan_buckets(records.histogram, records, **arguments)


def packs(records=RECORDS, **arguments):
    return plan_packs(records.histogram, records, **arguments)


@pytest.mark.parametrize(("kind", "word", "make"), KINDS)
def test_a_plan_is_of_its_kind_and_names_its_arguments(kind, word, make):
    plan = make(window=np.int64(40), group=np.int32(3), shuffle=np.bool_(False))
    assert type(plan) is kind
    found = plan.fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert found["plan"] == word
    of_a_pass = {"seed", "epoch", "group", "records", "landmark"}
    untold = {"max_documents", "multiple_of"}  # which are there once a collator of a fixed capacity told them
    assert set(found) == {"plan"} | {field.name for field in fields(plan)} - of_a_pass - untold
    told = replace(plan, max_documents=9, multiple_of=2).fingerprint()
    assert (told["max_documents"], told["multiple_of"]) == (9, 2)
    assert (found["num_records"], found["window"], found["shuffle"]) == (5, 40, False)


@pytest.mark.parametrize("make", [make for _, _, make in KINDS])
def test_the_plan_of_another_pass_has_the_same_arguments(make):
    plan = make(seed=7)
    other = plan.at(epoch=2, group=4, records=Known([5] * 5), landmark=Landmark(0, 0, 0))
    assert (other.epoch, other.group, other.seed) == (2, 4, 7)
    assert other.fingerprint() == plan.fingerprint() == make(seed=8).fingerprint()
    assert other.lengths_at(np.array([1])).tolist() == [5]
    assert plan.lengths_at(np.array([1])).tolist() == [9]


def test_a_fingerprint_changes_with_any_argument():
    changes = {"window": 50, "max_length": 8, "drop_last": True, "shuffle": False, "longest_first": True}
    changes |= {"shuffle_block": 4, "widths": [30]}
    plan = buckets(batch_size=2)
    found = [json.dumps(replace(plan, **{name: value}).fingerprint()) for name, value in changes.items()]
    assert len({json.dumps(plan.fingerprint()), *found}) == len(changes) + 1


def test_many_widths_are_hashed_so_that_a_state_stays_small():
    lengths = Known(np.arange(1, 200))
    few, many, others = (buckets(lengths, batch_size=2, buckets=n).fingerprint() for n in (64, 65, 66))
    assert len(few["widths"]) == 64
    assert [len(many["widths"]), len(others["widths"])] == [64, 64]
    assert many["widths"] != others["widths"]
    assert isinstance(many["widths"], str)


def test_max_length_clips_what_is_planned():
    plan = buckets(batch_size=2, max_length=8, buckets=2)
    assert plan.lengths_at(np.arange(5)).tolist() == [3, 8, 4, 8, 8]
    assert plan.widths == [4, 8]
    assert buckets(max_tokens=8, max_length=8).max_length == 8
    assert {batch.rows for batch in global_batches(buckets(max_tokens=8, max_length=8))} == {1, 2}


def test_shapes_and_tokens_of_a_batch():
    assert buckets(batch_size=2, buckets=[9, 64]).shapes() == [(2, 9), (2, 64)]
    assert buckets(max_tokens=60, buckets=[9, 30]).shapes() == [(2, 30), (6, 9)]
    assert buckets(batch_size=2, shuffle=False).shapes() == [(1, 30), (2, 4), (2, 9)]
    assert packs(length=32, batch_size=2).shapes() == [(2, 32)]
    assert buckets(batch_size=2).tokens_per_batch(10.5) == 21.0
    assert buckets(max_tokens=60).tokens_per_batch(10.5) == 60
    assert packs(length=32, batch_size=2).tokens_per_batch(10.5) == 64


def test_only_plans_of_rows_need_not_count():
    assert [make().must_count for _, _, make in KINDS] == [False, True, True, True]


SHARED = [
    ({"shuffle": "no"}, "shuffle is 'no': it must be True or False"),
    ({"drop_last": 1}, "drop_last is 1: it must be True or False"),
    ({"seed": -1}, "seed is -1: it must be an integer, at least 0"),
    ({"seed": True}, "seed is True: it must be an integer"),
    ({"window": 0}, "window is 0: it must be an integer, at least 1"),
    ({"window": 2**41}, "window is 2199023255552: it must be at most 1099511627776"),
    ({"group": 0}, "group is 0: it must be an integer, at least 1"),
]


@pytest.mark.parametrize("make", [make for _, _, make in KINDS])
@pytest.mark.parametrize(("arguments", "message"), SHARED)
def test_bad_arguments_of_any_plan_are_named(make, arguments, message):
    with pytest.raises(PlanError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "batch_size and max_tokens: neither given; give exactly one of them"),
        ({"batch_size": 4, "max_tokens": 100}, "batch_size and max_tokens: both given"),
        ({"batch_size": 0}, "batch_size is 0: it must be an integer, at least 1"),
        ({"batch_size": True}, "batch_size is True: it must be an integer"),
        ({"max_tokens": 2.5}, r"max_tokens is 2\.5: it must be an integer"),
        ({"max_tokens": 2**41}, "max_tokens is 2199023255552: it must be at most"),
        ({"batch_size": 4, "window": 3}, "window is 3, smaller than a batch of 4: sort at least one batch"),
        ({"batch_size": 4, "max_length": 0}, "max_length is 0: it must be an integer, at least 1"),
        ({"batch_size": 4, "shuffle_block": 0}, "shuffle_block is 0: it must be an integer, at least 1"),
        ({"batch_size": 4, "longest_first": "yes"}, "longest_first is 'yes': it must be True or False"),
        ({"batch_size": 4, "buckets": True}, "buckets is True: it must be an integer, at least 1"),
        ({"max_tokens": 29}, "record 4 has 30 tokens and would be padded to 30, more than max_tokens=29"),
        ({"max_tokens": 8, "max_length": 9}, "record 1 has 9 tokens and would be padded to 9"),
        (
            {"max_tokens": 30, "buckets": [9, 64]},
            "would be padded to 64, more than max_tokens=30: raise max_tokens",
        ),
    ],
)
def test_bad_arguments_of_buckets_are_named(arguments, message):
    with pytest.raises(PlanError, match=message):
        buckets(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "length is 1: it must be an integer, at least 2"),
        ({"length": 32, "batch_size": 0}, "batch_size is 0: it must be an integer, at least 1"),
        ({"length": 32, "strategy": "first_fit"}, "strategy is 'first_fit': it must be 'best_fit' or 'wrap'"),
        (
            {"length": 32, "overlong": "wrap"},
            "overlong is 'wrap': it must be 'error', 'truncate', 'drop' or 'split'",
        ),
        ({"length": 32, "balance": "auto"}, "balance is 'auto': it must be a length of 1 token or more"),
        ({"length": 29}, "record 4 has 30 tokens, more than a pack of 29: raise length, or choose overlong"),
        *(
            (
                {"length": 32, "balance": wrong},
                f"balance is {wrong!r}: it must be an integer, from 1 to 2147483647",
            )
            for wrong in (0, -5, float("nan"), 2.5, True, 2**31)
        ),
    ],
)
def test_bad_arguments_of_packs_are_named(arguments, message):
    with pytest.raises(PlanError, match=message):
        packs(**arguments)


def test_nothing_can_be_planned_over_no_records():
    for make in (lambda: buckets(Known([]), batch_size=2), lambda: packs(Known([]), length=8)):
        with pytest.raises(PlanError, match="the store has no records: there is nothing to plan"):
            make()


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ((2, 2), "rank 2 of world_size 2: ranks go from 0 to world_size - 1"),
        ((0, 0), "rank 0 of world_size 0: ranks go from 0"),
        ((-1, 2), "rank is -1: it must be an integer, at least 0"),
        ((0, "2"), "world_size is '2': it must be an integer, at least 0"),
    ],
)
def test_a_rank_lies_in_its_world(world, message):
    assert check_world(np.int64(1), 2) == (1, 2)
    with pytest.raises(PlanError, match=message):
        check_world(*world)
