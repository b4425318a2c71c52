"""Packs of a step cost as much as each other, none is over full, and no rank is empty while another has two."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import Known, fields, global_batches, pack_plans, rows_of

from fastcollate.plan.pack_plans.balance import balance_packs, work_of
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.plan.shares import Pieces
from fastcollate.ragged import offsets_of


class KnownTargets(Known):
    """Records of which half, a third, a quarter or none of the tokens are targets."""

    def supervised_at(self, indices):
        return self.lengths[indices] * (indices % 4 > 0) // (1 + indices % 4)


def with_targets(plan):
    return replace(plan, balance="targets", lanes=1, records=KnownTargets(plan.records.lengths))


PLANS = pack_plans(st.integers(1, 60))
BALANCED = PLANS.map(lambda plan: replace(plan, balance=16, lanes=1)) | PLANS.map(with_targets)


def cost(pack, balance=16):
    """What attention and all else cost on a pack, a list of (record, begin, length)."""
    return sum(length * (length + balance) for _, _, length in pack)


def slow_deal(packs, group, room):
    """The documents of the last packs, one by one: the costliest goes where the least is, in rounds."""
    documents = [document for pack in packs for document in pack]
    count = min(group, len(documents))
    order = sorted(range(len(documents)), key=lambda i: -cost([documents[i]]))
    dealt = [[] for _ in range(count)]
    for first in range(0, len(order), count):
        one_round = order[first : first + count]
        loads = [cost([documents[i] for i in pack]) for pack in dealt]
        lightest = sorted(range(count), key=loads.__getitem__)
        for i, pack in zip(one_round, lightest, strict=False):
            dealt[pack].append(i)
    if any(sum(documents[i][2] for i in pack) > room for pack in dealt):
        return slow_halves(packs, count)
    return [[documents[i] for i in sorted(pack)] for pack in dealt]


def slow_halves(packs, count):
    """The costliest pack of two documents or more is halved until there are enough."""
    numbered = {
        (number, place): document for number, pack in enumerate(packs) for place, document in enumerate(pack)
    }
    parts = [[(number, place) for place in range(len(pack))] for number, pack in enumerate(packs)]
    while len(parts) < count:
        loads = [cost([numbered[i] for i in part]) if len(part) > 1 else 0 for part in parts]
        at = loads.index(max(loads))
        by_cost = sorted(parts[at], key=lambda i: -cost([numbered[i]]))
        parts[at] = [i for n, i in enumerate(by_cost) if n % 4 in (0, 3)]
        parts.append([i for n, i in enumerate(by_cost) if n % 4 in (1, 2)])
    return [[numbered[i] for i in sorted(part)] for part in parts]


def slow_balance(packs, group, batch_size, room):
    """Sorted packs, the last ones dealt out, and the packs of each step in turns."""
    order = sorted(range(len(packs)), key=lambda i: -cost(packs[i]))
    whole = (len(packs) - 1) // group * group
    found = [packs[i] for i in order[:whole]]
    found += slow_deal([packs[i] for i in sorted(order[whole:])], group, room)
    steps, at = [], 0
    while at < len(found):
        step = found[at : at + group * batch_size]
        at += len(step)
        if len(step) % group:
            steps += step
            continue
        batches = [[] for _ in range(group)]
        for first in range(0, len(step), group):
            one_round = step[first : first + group]
            for batch, pack in zip(
                batches, one_round if first // group % 2 == 0 else one_round[::-1], strict=True
            ):
                batch.append(pack)
        steps += [pack for batch in batches for pack in batch]
    return steps


@st.composite
def packs_of_documents(draw):
    """(packs of (record, begin, length), their room)."""
    room = draw(st.integers(2, 40))
    rooms = draw(st.lists(st.lists(st.integers(1, room), min_size=1, max_size=6), min_size=1, max_size=40))
    packs, record = [], 0
    for lengths in rooms:
        pack = []
        for length in lengths:
            if sum(n for _, _, n in pack) + length <= room:
                pack.append((record, 0, length))
                record += 1
        packs.append(pack)
    return packs, room


@settings(max_examples=300)
@given(packs_of_documents(), st.integers(2, 9), st.integers(1, 4))
def test_packs_are_balanced_as_one_by_one(case, group, batch_size):
    packs, room = case
    columns = np.array([document for pack in packs for document in pack]).T
    pieces, edges = Pieces(*columns), offsets_of([len(pack) for pack in packs])
    found, begins = balance_packs(
        pieces, edges, work_of(pieces.lengths, 16), group=group, batch_size=batch_size, length=room
    )
    expected = slow_balance(packs, group, batch_size, room)
    np.testing.assert_array_equal(begins, offsets_of([len(pack) for pack in expected]), strict=True)
    documents = [document for pack in expected for document in pack]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == documents


def steps_of(plan):
    batches = global_batches(plan)
    return [batches[first : first + plan.group] for first in range(0, len(batches), plan.group)]


@settings(max_examples=200)
@given(BALANCED)
def test_what_is_delivered_is_what_is_delivered_without_balance(plan):
    found = Counter(
        (record, begin + token)
        for batch in global_batches(plan)
        for pack in rows_of(batch)
        for record, begin, length in pack
        for token in range(length)
    )
    plain = Counter(
        (record, begin + token)
        for batch in global_batches(replace(plan, balance=None))
        for pack in rows_of(batch)
        for record, begin, length in pack
        for token in range(length)
    )
    assert found == plain


@settings(max_examples=200)
@given(BALANCED)
def test_no_pack_is_over_full_and_steps_are_as_many_as_without(plan):
    steps = steps_of(plan)
    assert len(steps) == len(steps_of(replace(plan, balance=None)))
    for step in steps:
        packs = [pack for batch in step for pack in rows_of(batch)]
        assert all(sum(length for _, _, length in pack) <= plan.length for pack in packs)
        assert all(len(rows_of(batch)) <= plan.batch_size for batch in step)
        if any(not rows_of(batch) for batch in step):  # more ranks than documents
            assert all(len(pack) == 1 for pack in packs)


@settings(max_examples=100)
@given(BALANCED)
def test_one_rank_has_the_order_it_has_without_balance(plan):
    alone, plain = replace(plan, group=1), replace(plan, group=1, balance=None)
    assert list(map(rows_of, global_batches(alone))) == list(map(rows_of, global_batches(plain)))


@pytest.mark.parametrize("group", [2, 8, 64])
@pytest.mark.parametrize("length", [2048, 8192])
def test_ranks_wait_for_one_percent_of_the_time_at_most(group, length):
    lengths = np.clip(np.random.default_rng(0).lognormal(5.5, 1.2, 60_000), 8, length).astype(np.int64)
    shared = fields(Known(lengths), window=65_536, group=group)
    idle = {}
    for balance in (None, 24_576):
        plan = BestFitPacks(**shared, length=length, batch_size=1, overlong="error", balance=balance)
        window = plan.plan_window(0)
        before = offsets_of(work_of(window.whole.pieces.lengths, 24_576))[window.whole.packs.edges]
        costs = (before[window.stops] - before[window.starts]).reshape(-1, group)
        idle[balance] = 1 - costs.mean(axis=1).sum() / costs.max(axis=1).sum()
    assert idle[24_576] < 0.01 < idle[None]


@pytest.mark.parametrize("group", [2, 8, 64])
@pytest.mark.parametrize("strategy", [BestFitPacks, WrappedPacks])
def test_ranks_have_as_many_targets(group, strategy):
    lengths = np.clip(np.random.default_rng(0).lognormal(5.5, 1.2, 60_000), 8, 8192).astype(np.int64)
    records = KnownTargets(lengths)
    shared = fields(records, window=65_536, group=group) | {"length": 8192, "batch_size": 1}
    shared |= {"overlong": "error"} if strategy is BestFitPacks else {}
    spread = {}
    for balance in (None, "targets"):
        window = strategy(**shared, balance=balance).plan_window(0)
        pieces = window.whole.pieces
        targets = records.supervised_at(pieces.records) * pieces.lengths // lengths[pieces.records]
        before = offsets_of(targets)[window.whole.packs.edges]
        counts = (before[window.stops] - before[window.starts]).reshape(-1, group)
        counts = counts[counts.any(axis=1)]
        spread[balance] = float((counts.max(axis=1) / counts.mean(axis=1)).mean())
    assert spread["targets"] <= 1.1 < spread[None]


def test_targets_of_records_that_do_not_know_are_all_tokens():
    plan = BestFitPacks(**fields(Known([5, 3, 2])), length=8, batch_size=1, overlong="error", balance="targets")
    pieces = Pieces(np.array([0, 2]), np.array([1, 0]), np.array([3, 2]))
    np.testing.assert_array_equal(plan.work(pieces), np.array([3, 2]), strict=True)
    known = replace(plan, records=KnownTargets([4, 8, 9, 12]))
    pieces = Pieces(np.array([0, 1, 1, 3]), np.array([0, 0, 2, 6]), np.array([4, 8, 4, 6]))
    np.testing.assert_array_equal(known.work(pieces), np.array([0, 4, 2, 1]), strict=True)
