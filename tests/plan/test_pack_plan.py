"""Packs: best fit equals its slow definition, and every token lands in exactly one place."""

from collections import Counter
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import global_batches, pack_plans

from fastcollate.plan.pack_plans.best_fit import best_fit_decreasing
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks


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


def tokens_of(batches):
    """How often each (record, token) occurs."""
    return Counter(
        (record, token)
        for batch in batches
        for record, begin, length in zip(*(column.tolist() for column in batch.pieces), strict=True)
        for token in range(begin, begin + length)
    )


def expected_tokens(plan):
    lengths = plan.records.lengths
    if isinstance(plan, BestFitPacks) and plan.overlong == "drop":
        lengths = np.where(lengths > plan.length, 0, lengths)
    elif isinstance(plan, BestFitPacks) and plan.overlong == "truncate":
        lengths = np.minimum(lengths, plan.length)
    return Counter((record, token) for record, n in enumerate(lengths.tolist()) for token in range(n))


@settings(max_examples=250)
@given(pack_plans())
def test_every_token_lands_in_exactly_one_place(plan):
    batches = global_batches(plan)
    found, expected = tokens_of(batches), expected_tokens(plan)
    assert found <= expected if plan.drop_last else found == expected
    assert len(batches) == plan.num_batches
    assert len(batches) % plan.group == 0
    assert sorted({(batch.rows, plan.length) for batch in batches}) == plan.shapes()


@settings(max_examples=250)
@given(pack_plans())
def test_packs_hold_their_length_and_whole_documents(plan):
    for batch in global_batches(plan):
        assert 1 <= batch.rows <= plan.batch_size
        assert batch.record_ids.tolist() == batch.pieces.records.tolist()
        for first, last in pairwise(batch.packs.edges.tolist()):
            assert int(batch.pieces.lengths[first:last].sum()) <= plan.length
        if isinstance(plan, BestFitPacks):
            lengths = plan.records.lengths[batch.pieces.records]
            whole = np.minimum(lengths - batch.pieces.begins, plan.length)
            np.testing.assert_array_equal(batch.pieces.lengths, whole)
            assert bool((batch.pieces.begins % plan.length == 0).all())


@settings(max_examples=200)
@given(pack_plans())
def test_wrapping_cuts_the_shuffled_stream_every_length_tokens(plan):
    shared = {field.name: getattr(plan, field.name) for field in fields(WrappedPacks)}
    plan = WrappedPacks(
        **{**shared, "shuffle": False, "drop_last": False, "batch_size": 1, "group": 1, "lanes": 1}
    )
    lengths = plan.records.lengths.tolist()
    stream = [(record, token) for record, n in enumerate(lengths) for token in range(n)]
    found = [
        [(r, t) for r, b, n in zip(*(c.tolist() for c in batch.pieces), strict=True) for t in range(b, b + n)]
        for batch in global_batches(plan)
    ]
    assert found == [stream[i : i + plan.length] for i in range(0, len(stream), plan.length)]


@pytest.mark.parametrize(("mu", "sigma", "longest"), [(4.6, 0.6, 1024), (5.5, 1.2, 2048)])
def test_packs_are_nearly_full(mu, sigma, longest):
    lengths = np.clip(np.random.default_rng(0).lognormal(mu, sigma, 65_536), 8, longest).astype(np.int64)
    packs, count = best_fit_decreasing(np.sort(lengths)[::-1], 2048)
    assert len(packs) == 65_536
    assert lengths.sum() / (count * 2048) >= 0.999
