"""Named properties of the plan: exact cover, padded budget, ranks equal and disjoint, resume is a suffix."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcollate.plan.bucket_plan import EpochPlan
from fastcollate.plan.ranks import rank_batches


@st.composite
def plans(draw):
    count = draw(st.integers(1, 90))
    lengths = np.array(draw(st.lists(st.integers(1, 30), min_size=count, max_size=count)))
    batch_size = draw(st.none() | st.integers(1, 9))
    widths = draw(st.none() | st.sampled_from([[30], [8, 30], [4, 12, 20, 30]]))
    plan = EpochPlan(
        num_records=count,
        lengths_at=lambda ids: lengths[ids],
        batch_size=batch_size,
        max_tokens=draw(st.integers(30, 120)) if batch_size is None else None,
        widths=widths,
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
        epoch=draw(st.integers(0, 5)),
        window=draw(st.integers(9, 100)),
        drop_last=draw(st.booleans()),
        group=draw(st.integers(1, 5)),
        shuffle_block=draw(st.sampled_from([1, 1, 3, 8])),
        longest_first=draw(st.booleans()),
    )
    return plan, lengths


def small_plan(records, lengths_at, **changes):
    arguments = {"max_tokens": None, "widths": None, "shuffle": True, "epoch": 0, "drop_last": False, "group": 1}
    return EpochPlan(num_records=records, lengths_at=lengths_at, **{**arguments, **changes})


def global_batches(plan):
    return [window[i] for _, window in plan.windows() for i in range(len(window))]


def real(batch):
    return batch.record_ids[batch.record_ids >= 0].tolist()


@settings(max_examples=300)
@given(plans())
def test_every_record_comes_once_and_steps_are_whole(planned):
    plan, _ = planned
    batches = global_batches(plan)
    assert len(batches) == plan.num_batches
    assert len(batches) % plan.group == 0
    seen = [record for batch in batches for record in real(batch)]
    assert len(seen) == len(set(seen))
    if not plan.drop_last:
        assert sorted(seen) == list(range(plan.num_records))
    elif plan.batch_size is not None:
        assert len(seen) == plan.num_records // (plan.group * plan.batch_size) * plan.group * plan.batch_size


@settings(max_examples=300)
@given(plans())
def test_batches_keep_to_their_size_budget_and_width(planned):
    plan, lengths = planned
    for batch in global_batches(plan):
        rows = len(batch.record_ids)
        ids = real(batch)
        assert rows >= 1
        assert batch.record_ids[: len(ids)].tolist() == ids  # fillers come last
        longest = int(lengths[ids].max()) if ids else 1
        if plan.widths is None:
            assert batch.width is None
            assert rows == max(len(ids), 1)
        else:
            assert batch.width in plan.widths
            assert batch.width >= longest
        if plan.batch_size is not None:
            assert rows <= plan.batch_size
            assert plan.widths is None or rows == plan.batch_size
        else:
            assert rows * (batch.width or longest) <= plan.max_tokens
            assert plan.widths is None or rows == plan.max_tokens // batch.width


@settings(max_examples=200)
@given(plans())
def test_the_batches_of_a_step_are_neighbours_in_length(planned):
    plan, lengths = planned
    for _, window in replace(plan, longest_first=False).windows():
        steps = len(window) // plan.group
        ranges = []
        for step in range(steps):
            ids = [r for i in range(plan.group) for r in real(window[step * plan.group + i])]
            ranges.append((int(lengths[ids].min()), int(lengths[ids].max())))
        if plan.batch_size is not None:
            ranges = ranges[:-1]  # the epoch's last step takes what is left
        ranges.sort()
        assert all(low[1] <= high[0] or low[0] == high[0] for low, high in pairwise(ranges))


@settings(max_examples=200)
@given(plans(), st.integers(1, 7), st.integers(0, 40))
def test_ranks_get_equally_many_and_cover_the_rest_of_the_epoch(planned, world_size, start):
    plan, _ = planned
    everything = global_batches(plan)
    start = min(start, len(everything))
    shares = [list(rank_batches(plan, start=start, rank=r, world_size=world_size)) for r in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    full = (len(everything) - start) // world_size
    for step in range(full):
        for rank in range(world_size):
            expected = everything[start + step * world_size + rank]
            assert shares[rank][step].record_ids.tolist() == expected.record_ids.tolist()
            assert shares[rank][step].width == expected.width
    left = sorted(r for batch in everything[start + full * world_size :] for r in real(batch))
    dealt = sorted(r for share in shares for batch in share[full:] for r in real(batch))
    assert dealt == ([] if plan.drop_last else left)
    shapes = {(len(b.record_ids), b.width) for b in everything}
    if plan.widths is not None:
        assert {(len(b.record_ids), b.width) for share in shares for b in share} <= shapes
    if plan.max_tokens is not None:
        most = max((len(b.record_ids) for b in everything), default=0)
        assert all(len(b.record_ids) <= most for share in shares for b in share)


@settings(max_examples=100)
@given(plans(), st.integers(1, 4), st.integers(1, 7))
def test_workers_take_turns(planned, world_size, workers):
    plan, _ = planned
    for rank in range(world_size):
        alone = list(rank_batches(plan, start=0, rank=rank, world_size=world_size))
        shares = [
            list(rank_batches(plan, start=0, rank=rank, world_size=world_size, worker=w, num_workers=workers))
            for w in range(workers)
        ]
        turns = [shares[i % workers][i // workers] for i in range(len(alone))]
        assert sum(map(len, shares)) == len(alone)
        assert [b.record_ids.tolist() for b in turns] == [b.record_ids.tolist() for b in alone]


@settings(max_examples=100)
@given(plans(), st.data())
def test_resuming_gives_a_suffix(planned, data):
    plan, _ = planned
    everything = [b.record_ids.tolist() for b in global_batches(plan)]
    start = data.draw(st.integers(0, len(everything)))
    rest = [b.record_ids.tolist() for b in rank_batches(plan, start=start, rank=0, world_size=1)]
    assert rest == everything[start:]


@settings(max_examples=200)
@given(plans())
def test_the_largest_batch_can_come_first(planned):
    plan, lengths = planned
    plan = replace(plan, longest_first=True)

    def cells(batch):
        ids = real(batch)
        return len(batch.record_ids) * (batch.width or (int(lengths[ids].max()) if ids else 1))

    sizes = [cells(batch) for batch in global_batches(plan)]
    assert not sizes or max(sizes[: plan.group]) == max(sizes)
    usual = global_batches(replace(plan, longest_first=False))
    assert sorted(b.record_ids.tolist() for b in global_batches(plan)) == sorted(
        b.record_ids.tolist() for b in usual
    )


def test_blocks_of_records_stay_together():
    plan = small_plan(1000, np.ones_like, batch_size=50, seed=3, window=50, shuffle_block=10)
    order = plan.order(0, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    inside = [order[i : i + 10] for i in range(0, 1000, 10)]
    assert all(((np.diff(run) % 1000) == 1).all() for run in inside)
    assert sum((b[0] - a[-1]) % 1000 == 1 for a, b in pairwise(inside)) < 10


def test_epochs_and_seeds_differ_and_the_order_never_changes():
    lengths = np.arange(1, 101)

    def order(**changes):
        arguments = {"seed": 0, "epoch": 0, "batch_size": 4, "max_tokens": None, "group": 2, **changes}
        plan = EpochPlan(
            num_records=100,
            lengths_at=lambda ids: lengths[ids],
            widths=None,
            shuffle=True,
            window=40,
            drop_last=False,
            **arguments,
        )
        return [r for batch in global_batches(plan) for r in batch.record_ids.tolist()]

    assert order() == order()
    assert order() != order(epoch=1)
    assert order(epoch=1) != order(seed=1)
    assert order()[:12] == GOLDEN_ROWS
    assert order(batch_size=None, max_tokens=400)[:12] == GOLDEN_TOKENS


@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_batch_says_little_about_the_next_epochs_batch(batch_size):
    """Records that shared a batch meet again about as rarely as in a full shuffle of records of their length."""
    lengths = np.random.default_rng(0).integers(1, 40, 4000)

    def partners(window):
        found = []
        for epoch in (0, 1):
            plan = small_plan(
                4000, lambda ids: lengths[ids], batch_size=batch_size, seed=5, epoch=epoch, window=window
            )
            pairs = set()
            for batch in global_batches(plan):
                ids = sorted(batch.record_ids.tolist())
                pairs |= {(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]}
            found.append(pairs)
        return len(found[0] & found[1]) / len(found[0])

    in_windows, unsorted = partners(2000), partners(batch_size)
    chance = (batch_size - 1) / 3999
    assert unsorted == pytest.approx(chance, rel=0.25)
    # 40 lengths: within one length, records still meet at random
    assert in_windows < 40 * chance * 1.5


GOLDEN_ROWS = [82, 80, 78, 76, 75, 74, 67, 66, 17, 13, 7, 1]
GOLDEN_TOKENS = [83, 82, 80, 78, 76, 75, 74, 67, 66, 59, 58, 55]
