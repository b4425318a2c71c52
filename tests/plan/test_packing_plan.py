"""Packs: best fit equals its slow definition, and every token lands in exactly one place."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcollate.plan.best_fit import best_fit_decreasing
from fastcollate.plan.pack_plan import PackPlan
from fastcollate.plan.ranks import rank_batches


def slow_best_fit(lengths, capacity):
    """Rooms left in the packs that best fit decreasing makes, one document at a time."""
    rooms = []
    for length in lengths:
        fitting = [(room, i) for i, room in enumerate(rooms) if room >= length]
        if not fitting:
            rooms.append(capacity)
            fitting = [(capacity, len(rooms) - 1)]
        rooms[min(fitting)[1]] -= length
    return sorted(rooms)


@given(st.integers(2, 40).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(1, c), max_size=70))))
def test_groups_give_the_packs_that_single_documents_give(case):
    capacity, lengths = case
    ordered = np.array(sorted(lengths, reverse=True), np.int64)
    packs, count = best_fit_decreasing(ordered, capacity)
    used = np.bincount(packs, ordered, minlength=count).astype(int)
    assert sorted((capacity - used).tolist()) == slow_best_fit(ordered.tolist(), capacity)
    assert packs.dtype == np.int64
    assert len(packs) == len(lengths)


@st.composite
def plans(draw):
    count = draw(st.integers(1, 80))
    length = draw(st.integers(2, 40))
    strategy = draw(st.sampled_from(["best_fit", "wrap"]))
    overlong = draw(st.sampled_from(["truncate", "drop", "split"]))
    longest = 60 if strategy == "wrap" or draw(st.booleans()) else length
    lengths = np.array(draw(st.lists(st.integers(1, longest), min_size=count, max_size=count)))
    plan = PackPlan(
        num_records=count,
        lengths_at=lambda ids: lengths[ids],
        batch_size=draw(st.integers(1, 4)),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
        epoch=draw(st.integers(0, 4)),
        window=draw(st.integers(1, 100)),
        drop_last=False,
        group=draw(st.integers(1, 4)),
        length=length,
        strategy=strategy,
        overlong=overlong,
    )
    return plan, lengths


def global_batches(plan):
    return [batch for _, window in plan.windows() for batch in window]


def tokens_of(batches):
    """How often each (record, token) occurs."""
    return Counter(
        (record, token)
        for batch in batches
        for record, begin, length in zip(*(column.tolist() for column in batch.pieces), strict=True)
        for token in range(begin, begin + length)
    )


def expected_tokens(plan, lengths):
    if plan.strategy == "best_fit" and plan.overlong == "drop":
        lengths = np.where(lengths > plan.length, 0, lengths)
    elif plan.strategy == "best_fit" and plan.overlong == "truncate":
        lengths = np.minimum(lengths, plan.length)
    return Counter((record, token) for record, n in enumerate(lengths.tolist()) for token in range(n))


@settings(max_examples=250)
@given(plans())
def test_every_token_lands_in_exactly_one_place(planned):
    plan, lengths = planned
    batches = global_batches(plan)
    assert tokens_of(batches) == expected_tokens(plan, lengths)
    assert len(batches) == plan.num_batches
    assert len(batches) % plan.group == 0


@settings(max_examples=250)
@given(plans())
def test_packs_hold_their_length_and_whole_documents(planned):
    plan, lengths = planned
    for batch in global_batches(plan):
        assert 1 <= batch.rows <= plan.batch_size
        assert batch.record_ids.tolist() == batch.pieces.records.tolist()
        for first, last in pairwise(batch.packs.edges.tolist()):
            assert int(batch.pieces.lengths[first:last].sum()) <= plan.length
        if plan.strategy == "best_fit":
            whole = np.minimum(lengths[batch.pieces.records] - batch.pieces.begins, plan.length)
            np.testing.assert_array_equal(batch.pieces.lengths, whole)
            assert bool((batch.pieces.begins % plan.length == 0).all())


@settings(max_examples=200)
@given(plans())
def test_wrapping_cuts_the_shuffled_stream_every_length_tokens(planned):
    plan, lengths = planned
    plan = PackPlan(**{**plan.__dict__, "strategy": "wrap", "shuffle": False, "batch_size": 1, "group": 1})
    stream = [(record, token) for record, n in enumerate(lengths.tolist()) for token in range(n)]
    found = [
        [(r, t) for r, b, n in zip(*(c.tolist() for c in batch.pieces), strict=True) for t in range(b, b + n)]
        for batch in global_batches(plan)
    ]
    assert found == [stream[i : i + plan.length] for i in range(0, len(stream), plan.length)]


@settings(max_examples=150)
@given(plans(), st.integers(1, 6), st.integers(0, 30))
def test_ranks_get_equally_many_and_conserve_tokens(planned, world_size, start):
    plan, _ = planned
    everything = global_batches(plan)
    start = min(start, len(everything))
    shares = [list(rank_batches(plan, start=start, rank=r, world_size=world_size)) for r in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    assert tokens_of(b for share in shares for b in share) == tokens_of(everything[start:])
    assert all(1 <= batch.rows <= plan.batch_size for share in shares for batch in share)


@settings(max_examples=100)
@given(plans(), st.data())
def test_resuming_gives_a_suffix_for_any_number_of_workers(planned, data):
    plan, _ = planned
    everything = [[c.tolist() for c in batch.pieces] for batch in global_batches(plan)]
    start = data.draw(st.integers(0, len(everything)))
    workers = data.draw(st.integers(1, 4))
    shares = [
        [[c.tolist() for c in b.pieces] for b in rank_batches(
            plan, start=start, rank=0, world_size=1, worker=w, num_workers=workers
        )]
        for w in range(workers)
    ]  # fmt: skip
    turns = [shares[i % workers][i // workers] for i in range(sum(map(len, shares)))]
    assert turns == everything[start:]


@pytest.mark.parametrize(("mu", "sigma", "longest"), [(4.6, 0.6, 1024), (5.5, 1.2, 2048)])
def test_packs_are_nearly_full(mu, sigma, longest):
    lengths = np.clip(np.random.default_rng(0).lognormal(mu, sigma, 65_536), 8, longest).astype(np.int64)
    packs, count = best_fit_decreasing(np.sort(lengths)[::-1], 2048)
    assert len(packs) == 65_536
    assert lengths.sum() / (count * 2048) >= 0.999
