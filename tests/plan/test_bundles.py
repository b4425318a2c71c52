"""Packs of a limited number of documents hold every document once, and are nearly as full as without a limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import Known, fields, global_batches

from fastcollate import PlanError
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.capacities.bundles import bundled_best_fit
from fastcollate.plan.capacities.within import within
from fastcollate.plan.pack_plans.best_fit import best_fit_decreasing
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.ragged import Capacity


@given(
    st.integers(2, 40).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(1, c), max_size=70))),
    st.integers(1, 9),
)
def test_no_pack_has_more_documents_or_tokens_than_it_may(case, most):
    capacity, lengths = case
    ordered = np.array(sorted(lengths, reverse=True), np.int64)
    packs, count = bundled_best_fit(ordered, capacity, most)
    assert packs.dtype == np.int64
    assert len(packs) == len(lengths)
    documents = np.bincount(packs, minlength=count)
    assert len(documents) == count
    assert documents.max(initial=0) <= most
    assert documents.min(initial=1) >= 1
    assert np.bincount(packs, ordered, minlength=count).max(initial=0) <= capacity


def test_a_limit_that_no_pack_reaches_changes_nothing():
    lengths = np.sort(np.random.default_rng(1).integers(1, 60, 500))[::-1]
    packs, count = best_fit_decreasing(lengths, 100)
    found, same = bundled_best_fit(lengths, 100, int(np.bincount(packs).max()))
    np.testing.assert_array_equal(found, packs, strict=True)
    assert same == count


@pytest.mark.parametrize(("capacity", "times"), [(8192, 4), (32_768, 2)])
def test_four_times_the_mean_documents_cost_less_than_a_tenth_of_a_point(capacity, times):
    drawn = np.random.default_rng(0).lognormal(5.5, 1.2, 60_000)
    lengths = np.sort(np.clip(drawn, 8, 8192).astype(np.int64))[::-1]
    _, free = best_fit_decreasing(lengths, capacity)
    packs, count = bundled_best_fit(lengths, capacity, -(-60_000 // free) * times)
    assert np.bincount(packs).max() <= -(-60_000 // free) * times
    assert 100 * int(lengths.sum()) / capacity * (1 / free - 1 / count) <= 0.1


def packs_over(lengths, kind=BestFitPacks, **changes):
    records = Known(lengths)
    own = {"overlong": "split"} if kind is BestFitPacks else {}
    return kind(**fields(records, length=16, batch_size=2, **own, **changes)), records.histogram


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(2, 8), st.sampled_from([1, 2, 8]))
def test_batches_of_packs_stay_within_a_capacity(lengths, documents, multiple):
    plan, histogram = packs_over(lengths, window=30, group=3)
    fitted = within(plan, Capacity(32, documents, multiple), histogram)
    batches = global_batches(fitted)
    assert sum(int(batch.pieces.lengths.sum()) for batch in batches) == sum(lengths)
    for batch in batches:
        padded = -(-batch.pieces.lengths // multiple) * multiple
        assert len(padded) <= documents
        assert all(padded[a:b].sum() <= 16 for a, b in zip(batch.packs.edges, batch.packs.edges[1:], strict=False))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(1, 8), st.sampled_from([1, 2, 8]))
def test_batches_of_a_token_budget_stay_within_a_capacity(lengths, documents, multiple):
    records = Known(lengths)
    plan = TokenBuckets(max_tokens=48, **fields(records, window=30, group=2))
    for batch in global_batches(within(plan, Capacity(48, documents, multiple), records.histogram)):
        real = np.array(lengths)[batch.record_ids[batch.record_ids >= 0]]
        assert len(real) <= documents
        assert (-(-real // multiple) * multiple).sum() <= 48


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_a_wrapped_batch_never_has_more_pieces_than_its_capacity_was_checked_for(lengths):
    plan, histogram = packs_over(lengths, WrappedPacks)
    most = max(len(batch.pieces.records) for batch in global_batches(plan))
    with pytest.raises(PlanError, match=r"documents is 1, but a batch of 2 pack.s. of 16 tokens may need "):
        within(plan, Capacity(32, 1), histogram)
    if most > 1:
        with pytest.raises(PlanError, match="documents is"):
            within(plan, Capacity(32, most - 1), histogram)


@pytest.mark.parametrize(
    ("capacity", "message"),
    [
        (
            Capacity(31, 9),
            "total is 31, but a batch of 2 pack.s. of 16 tokens may need 32: give the collator total=32",
        ),
        (Capacity(32, 1), "documents is 1, but a batch of 2 pack.s. of 16 tokens may need 2"),
        (Capacity(multiple_of=3), "length is 16: .* multiple_of=3 .* choose length=15 or 18"),
        (Capacity(multiple_of=32), "length is 16: .* multiple_of=32 .* choose length=32 or a multiple"),
    ],
)
def test_a_capacity_that_packs_may_not_fit_is_refused(capacity, message):
    plan, histogram = packs_over([3, 5])
    with pytest.raises(PlanError, match=message):
        within(plan, capacity, histogram)


def test_a_joined_stream_has_no_room_for_padding():
    plan, histogram = packs_over([3, 5], WrappedPacks)
    with pytest.raises(
        PlanError, match=r'strategy="wrap" .* no room .* multiple_of=4; choose strategy="best_fit"'
    ):
        within(plan, Capacity(multiple_of=4), histogram)


def test_a_budget_without_room_for_the_padding_of_its_longest_record_is_refused():
    records = Known([3, 9])
    plan = TokenBuckets(max_tokens=10, **fields(records))
    with pytest.raises(PlanError, match=r"max_tokens=10 leaves no room for a record of 9 tokens, .* pads to 16"):
        within(plan, Capacity(multiple_of=8), records.histogram)
