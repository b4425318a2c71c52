"""Lanes: neighbouring ranks read the same windows, and a step's batches cost alike all the same."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from plans import Known, fields, global_batches, pack_plans

from fastcollate import BucketedDataset, Ragged
from fastcollate.plan.buckets.row_buckets import RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks
from fastcollate.plan.ranks import rank_batches
from fastcollate.plan.shares import fitting

LENGTHS = (np.arange(40_000) * 7919 % 997 + 3) % 300 + 1
MANY = (np.random.default_rng(0).lognormal(4.5, 0.6, 160_000).astype(np.int64) + 1).clip(max=300)
KINDS = {
    "rows": lambda **changes: RowBuckets(batch_size=8, **fields(Known(LENGTHS), window=1000, **changes)),
    "tokens": lambda **changes: TokenBuckets(max_tokens=2000, **fields(Known(LENGTHS), window=1000, **changes)),
    "widths": lambda **changes: TokenBuckets(
        max_tokens=2400, widths=[50, 100, 200, 300], **fields(Known(LENGTHS), window=1000, **changes)
    ),
}


def taken(plan, ranks, world_size):
    """The records that some ranks of a world take."""
    batches = [b for rank in ranks for b in rank_batches(plan, start=0, rank=rank, world_size=world_size)]
    ids = np.concatenate([batch.record_ids for batch in batches])
    return ids[ids >= 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("group", "lanes", "nodes"), [(8, 4, 4), (8, 4, 2), (8, 8, 8), (4, 8, 4), (6, 4, 2)])
def test_a_node_reads_the_blocks_of_its_own_lanes(kind, group, lanes, nodes):
    plan = KINDS[kind](group=group, lanes=lanes, shuffle_block=50)
    of_node = group // nodes
    blocks = [
        len(np.unique(taken(plan, range(node * of_node, (node + 1) * of_node), group) // 50))
        for node in range(nodes)
    ]
    every = len(LENGTHS) // 50
    assert sum(blocks) < 1.2 * every  # windows of 20 blocks, some of which begin in the middle of one
    spread = KINDS[kind](group=group, shuffle_block=50)
    one = len(np.unique(taken(spread, range(of_node), group) // 50))
    assert one > 0.75 * every


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("group", "lanes"), [(2, 4), (4, 4), (8, 2), (8, 8)])
def test_ranks_wait_little_for_each_other(kind, group, lanes):
    """In windows of 10,000; usual ones have 65,536."""
    plan = replace(
        KINDS[kind](group=group, lanes=lanes), window=10_000, records=Known(MANY), num_records=len(MANY)
    )
    cells = []
    for window in map(plan.plan_window, range(plan.num_windows)):
        widths = window.widths if plan.widths else MANY[window.record_ids[window.starts]]
        cells.append((window.rows * widths).reshape(-1, group))
    steps = np.concatenate(cells)
    waited = 1 - steps.sum() / (steps.max(axis=1).sum() * group)
    assert waited < 0.02


def test_lanes_take_turns_where_there_are_more_than_ranks():
    plan = KINDS["rows"](group=2, lanes=4, shuffle=False)
    lanes = [int(batch.record_ids[0]) // 1000 for batch in global_batches(plan)[:8]]
    assert lanes == [0, 2, 1, 3, 0, 2, 1, 3]


def test_a_run_with_lanes_goes_on_with_another_world():
    plan = KINDS["tokens"](group=4, lanes=2)
    wanted = [batch.record_ids.tolist() for batch in global_batches(plan)]
    again = [list(rank_batches(plan, start=40, rank=rank, world_size=8)) for rank in range(8)]
    given = [batch.record_ids.tolist() for step in zip(*again, strict=True) for batch in step]
    whole = len(wanted[40:]) // 8 * 8
    assert given[:whole] == wanted[40 : 40 + whole]


def test_lanes_are_part_of_the_fingerprint_and_leave_one_lane_as_it_was():
    rows = Ragged.from_rows([[1] * length for length in LENGTHS[:500].tolist()])
    one, two = (BucketedDataset(rows, batch_size=8, window=100, lanes=lanes) for lanes in (1, 2))
    assert one.state_dict()["fingerprint"]["lanes"] == 1
    assert two.state_dict()["fingerprint"]["lanes"] == 2
    assert sorted(i for batch in two for i in batch.record_ids.tolist()) == list(range(500))


@pytest.mark.parametrize("kind", [BestFitPacks, WrappedPacks])
def test_packs_have_lanes_too_and_cost_alike(kind):
    common = fields(Known(MANY), window=10_000, group=8, lanes=4, shuffle_block=64, length=1024, batch_size=1)
    plan = kind(balance=200, **common, **({"overlong": "split"} if kind is BestFitPacks else {}))
    blocks = [len(np.unique(taken(plan, range(node * 2, node * 2 + 2), 8) // 64)) for node in range(4)]
    assert sum(blocks) < 1.5 * len(MANY) / 64  # what is left in some lanes is packed from all of them
    work = [int((b.pieces.lengths * (b.pieces.lengths + 200)).sum()) for b in global_batches(plan)]
    steps = np.array(work).reshape(-1, 8)
    assert 1 - steps.sum() / (steps.max(axis=1).sum() * 8) < 0.02


@given(pack_plans())
def test_balanced_packs_of_several_lanes_hold_every_token_once(plan):
    plan = replace(plan, balance=16, drop_last=False)
    found, wanted = Counter(), Counter()
    for batch in global_batches(plan):
        for record, begin, length in zip(*(column.tolist() for column in batch.pieces), strict=True):
            found.update((record, token) for token in range(begin, begin + length))
    for part in range(plan.num_parts):
        pieces = plan.documents(part)
        if isinstance(plan, BestFitPacks):
            pieces = fitting(pieces, plan.length, plan.overlong)
        for record, begin, length in zip(*(column.tolist() for column in pieces), strict=True):
            wanted.update((record, token) for token in range(begin, begin + length))
    assert found == wanted
    assert all(batch.packs.used.max(initial=0) <= plan.length for batch in global_batches(plan))
