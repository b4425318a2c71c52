"""Ranks and workers share an epoch exactly, on any world size, and no rank is left with nothing but fillers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import Known, any_plans, fields, global_batches, rows_of

from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.order import PlannedBatch
from fastcollate.plan.pack_plans.pack_plan import PackPlan
from fastcollate.plan.ranks import deal_rows, rank_batches, rank_shares


def shares_of(plan, start, world_size, workers=1):
    """The batches of each rank, whose workers take turns."""
    shares = []
    for rank in range(world_size):
        turns = [
            list(rank_batches(plan, start=start, rank=rank, world_size=world_size, worker=w, num_workers=workers))
            for w in range(workers)
        ]
        shares.append([turns[i % workers][i // workers] for i in range(sum(map(len, turns)))])
    return shares


def steps_of(plan, start, world_size):
    """The batches of each step of a run; that ranks get equally many is checked here."""
    return list(zip(*shares_of(plan, start, world_size), strict=True))


def wanted(batch):
    """Its real rows, the rows it has with fillers, and its width."""
    return rows_of(batch), batch.rows, batch.width


def slow_deal(step, world_size, *, static):
    """The same for a step that is dealt anew: the longest list of rows is halved until there are enough."""
    dealt = [(rows, count if static else 1, width) for rows, count, width in map(wanted, step) if rows]
    if not dealt:
        dealt = [([], step[0].rows if static else 1, step[0].width)]
    while len(dealt) < world_size:
        longest = max(len(rows) for rows, _, _ in dealt)
        at = next(i for i, (rows, _, _) in enumerate(dealt) if len(rows) == longest)
        rows, least, width = dealt[at]
        dealt[at] = rows[: (longest + 1) // 2], least, width
        dealt.append((rows[(longest + 1) // 2 :], least, width))
    return [(rows, max(len(rows), least), width) for rows, least, width in dealt]


def slow_steps(plan, start, world_size):
    """All batches in one list, cut into steps; the uneven ones, and those left at the end, are dealt anew."""
    batches = global_batches(plan)[start:]
    steps = []
    for first in range(0, len(batches), world_size):
        step = batches[first : first + world_size]
        counts = [len(rows_of(batch)) for batch in step]
        if len(step) < world_size and plan.drop_last:
            continue
        uneven = min(counts) == 0 and max(counts) > 1
        dealt = slow_deal(step, world_size, static=plan.static) if uneven or len(step) < world_size else None
        steps.append(dealt or [wanted(batch) for batch in step])
    return steps


def filled_alone(step):
    """Whether a rank of the step has filler rows only while another has two rows or more."""
    counts = [batch.real_rows for batch in step]
    return min(counts) == 0 and max(counts) > 1


@settings(max_examples=400)
@given(any_plans(), st.integers(0, 40), st.integers(1, 7), st.integers(1, 3), st.booleans())
def test_ranks_and_workers_share_what_one_list_would_give(plan, start, world_size, workers, known):
    expected = slow_steps(plan, start, world_size)
    if known:  # as after a resume: nothing before the landmark was counted
        plan = replace(plan, landmark=plan.landmark_before(start))
    shares = shares_of(replace(plan), start, world_size, workers)
    assert [[wanted(batch) for batch in step] for step in zip(*shares, strict=True)] == expected


@settings(max_examples=400)
@given(any_plans(), st.integers(0, 40), st.integers(1, 9))
def test_no_rank_has_only_fillers_while_another_has_two_rows(plan, start, world_size):
    assert not any(filled_alone(step) for step in steps_of(plan, start, world_size))


@settings(max_examples=300)
@given(any_plans(), st.integers(0, 40), st.integers(1, 7))
def test_the_rest_of_the_epoch_is_covered_exactly(plan, start, world_size):
    expected = [row for batch in global_batches(plan)[start:] for row in rows_of(batch)]
    steps = steps_of(plan, start, world_size)
    found = [row for step in steps for batch in step for row in rows_of(batch)]
    if plan.drop_last:
        assert len(steps) == max(0, plan.num_batches - start) // world_size
    else:
        assert len(steps) == -(-max(0, plan.num_batches - start) // world_size)
        assert sorted(found) == sorted(expected)


@settings(max_examples=300)
@given(any_plans(), st.integers(0, 40), st.integers(1, 7))
def test_no_batch_is_larger_or_of_another_shape_than_the_plan_gave(plan, start, world_size):
    everything = global_batches(plan)
    shapes = {(batch.rows, batch.width) for batch in everything}
    most = max((batch.rows for batch in everything), default=0)
    for first, step in enumerate(steps_of(plan, start, world_size)):
        given_rows = everything[start + first * world_size : start + (first + 1) * world_size]
        widest = max(longest_row(plan, batch) for batch in given_rows)
        for batch in step:
            assert 1 <= batch.rows <= most
            assert longest_row(plan, batch) <= widest
            assert not plan.static or (batch.rows, batch.width) in shapes
            if isinstance(plan, TokenBuckets):
                assert batch.rows * (batch.width or longest_row(plan, batch)) <= plan.max_tokens


def longest_row(plan, batch):
    """Tokens of its longest row, or of a full pack; 1 for fillers only."""
    if isinstance(plan, PackPlan):
        return plan.length
    return int(plan.lengths_at(np.array([0, *rows_of(batch)]))[1:].max(initial=1))


@settings(max_examples=200)
@given(any_plans(), st.lists(st.tuples(st.integers(1, 7), st.integers(0, 4)), max_size=4), st.integers(1, 7))
def test_a_chain_of_world_sizes_delivers_every_row_once(plan, chain, last):
    plan = replace(plan, drop_last=False)
    position, found = 0, []
    for world_size, steps in [*chain, (last, 10**6)]:
        taken = steps_of(plan, position, world_size)[:steps]
        found += [row for step in taken for batch in step for row in rows_of(batch)]
        position, landmark = plan.place(position + len(taken) * world_size)
        plan = plan.at(epoch=plan.epoch, group=plan.group, records=plan.records, landmark=landmark)
    assert position == plan.num_batches
    assert sorted(found) == sorted(row for batch in global_batches(plan) for row in rows_of(batch))


@settings(max_examples=200)
@given(any_plans(), st.integers(0, 40))
def test_a_plan_counts_its_batches(plan, start):
    batches = len(global_batches(replace(plan)))
    assert plan.num_batches == batches
    assert [plan.has_batch(max(0, batches - 1)), plan.has_batch(batches)] == [batches > 0, False]
    place, landmark = replace(plan).place(start)
    assert place == min(start, batches)
    assert landmark.batch < max(1, place)
    assert plan.landmark_of(landmark.window) == landmark
    assert plan.place(batches + 3)[0] == batches


@settings(max_examples=100)
@given(any_plans(), st.data())
def test_resuming_gives_a_suffix(plan, data):
    everything = [wanted(batch) for batch in global_batches(plan)]
    start = data.draw(st.integers(0, len(everything)))
    assert [wanted(batch) for batch in rank_batches(plan, start=start, rank=0, world_size=1)] == everything[start:]


def test_a_step_that_mixes_an_empty_batch_with_full_ones_is_dealt_anew():
    """Windows of 17 equal records, batches of 4, planned for 4 ranks: each ends with a step of a single record."""
    plan = TokenBuckets(**fields(Known([10] * 34), max_tokens=40, window=17, group=4, shuffle=False))
    assert [batch.real_rows for batch in global_batches(plan)] == [4, 4, 4, 4, 0, 0, 0, 1] * 2
    dealt = [[batch.real_rows for batch in step] for step in steps_of(plan, 0, 3)]
    assert dealt == [[4, 4, 4], [1, 2, 1], [1, 2, 2], [4, 4, 4], [0, 0, 0], [1, 0, 0]]


def test_what_is_left_at_the_end_is_dealt_without_its_empty_batches():
    empty, full = PlannedBatch(np.array([-1]), None), PlannedBatch(np.arange(5), None)
    dealt = [batch.record_ids.tolist() for batch in deal_rows([empty, full], 4, static=False)]
    assert dealt == [[0], [3, 4], [2], [1]]


@pytest.mark.parametrize("static", [False, True])
def test_more_ranks_than_records_leave_fillers_to_the_last(static):
    plan = RowBuckets(**fields(Known([3, 5]), batch_size=4, widths=[5] if static else None))
    dealt = deal_rows(global_batches(plan), 4, static=static)
    assert [batch.real_rows for batch in dealt] == [1, 1, 0, 0]
    assert [batch.rows for batch in dealt] == ([4] * 4 if static else [1] * 4)


def batches_of(share):
    """The batches of a share, each with all that it says of them, comparable."""
    found = []
    for number in range(len(share.edges) - 1):
        rows = slice(*share.edges[number : number + 2].tolist())
        width = None if share.widths is None else int(share.widths[number])
        ids, packs = share.record_ids[rows], None
        if share.packs is not None:
            part = share.packs.part(*share.pack_edges[number : number + 2].tolist())
            packs = [np.asarray(field).tolist() for field in part], [c[rows].tolist() for c in share.pieces]
        found.append((ids.dtype, ids.tolist(), width, packs))
    return found


def batch_as_share(batch):
    """The same of a planned batch."""
    packs = None
    if hasattr(batch, "packs"):
        packs = [np.asarray(field).tolist() for field in batch.packs], [c.tolist() for c in batch.pieces]
    return batch.record_ids.dtype, batch.record_ids.tolist(), batch.width, packs


@settings(max_examples=400)
@given(any_plans(), st.integers(0, 40), st.integers(1, 7), st.integers(1, 3), st.data())
def test_shares_hold_the_batches_of_a_worker(plan, start, world_size, workers, data):
    rank, worker = data.draw(st.integers(0, world_size - 1)), data.draw(st.integers(0, workers - 1))
    turn = {"start": start, "rank": rank, "world_size": world_size, "worker": worker, "num_workers": workers}
    expected = list(map(batch_as_share, rank_batches(plan, **turn)))
    shares = list(rank_shares(plan, **turn))
    assert [batch for share in shares for batch in batches_of(share)] == expected


def test_the_first_share_has_one_batch_and_later_ones_more():
    plan = RowBuckets(**fields(Known([3] * 500), window=500), batch_size=5)
    shares = rank_shares(plan, start=0, rank=0, world_size=1)
    assert [len(share.edges) - 1 for share in shares] == [1, 4, 16, 64, 15]
