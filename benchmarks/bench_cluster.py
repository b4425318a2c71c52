"""What each node of a cluster reads from an object store: the stream of requests, simulated over the real planner.

`CLUSTER.md` beside this file says what follows for 10^10 records and 1,024 nodes.
"""

import time

import numpy as np
import pytest

from benchmarks.harness.planned import Known, idle_part
from fastcollate import Ragged, StoreWriter, TokenStore
from fastcollate.plan.planning import plan_buckets
from fastcollate.ragged import offsets_of, rows_between
from fastcollate.storage.network.block_cache import BLOCK_BYTES, FILE_BLOCKS

RANKS = 8  # of a node
BUDGET = 8192  # tokens of a batch, padding counted
TOKENS = 250  # of a record in the mean, of two bytes
LARGE = 65_536  # records of a window, or of each lane's
GAP = 4  # blocks between two that are asked for together, as `store.remote.token_blocks` does
CASES = {  # nodes, lanes, window, records that stay together
    "1 node": (1, 1, LARGE, 512),
    "8 nodes, 1 lane": (8, 1, LARGE, 512),
    "8 nodes, 8 lanes": (8, 8, LARGE, 512),
    "8 nodes, 8 lanes, twice as large blocks": (8, 8, LARGE, 1024),
    "64 nodes, 1 lane": (64, 1, LARGE, 512),
    "64 nodes, 64 lanes": (64, 64, LARGE, 512),
    "1,024 nodes, 1,024 lanes, windows of 8,192": (1_024, 1_024, 8_192, 512),
    "1,024 nodes, 1,024 lanes": (1_024, 1_024, LARGE, 512),
}


def blocks_of(begins, ends):
    """The distinct blocks that tokens lie in, and in how many requests they are asked for."""
    first, last = 2 * begins // BLOCK_BYTES, (2 * ends - 1) // BLOCK_BYTES
    blocks = np.unique(rows_between(first, last - first + 1))
    apart = np.diff(blocks, prepend=-GAP - 2) > GAP + 1
    other_file = np.diff(blocks // FILE_BLOCKS, prepend=-1) > 0
    return len(blocks), int((apart | other_file).sum())


def simulated(nodes, lanes, window, block):
    """What one window makes the nodes do: bytes read for each delivered, bytes of a request, idle time."""
    drawn = np.random.default_rng(0).lognormal(
        np.log(TOKENS) - 0.125, 0.5, max(window * lanes, 128 * RANKS * nodes)
    )
    records = Known(drawn.astype(np.int64).clip(2, 8000))
    shared = {"max_tokens": BUDGET, "window": window, "lanes": lanes, "shuffle_block": block}
    begun = time.perf_counter()
    plan = plan_buckets(records.histogram, records, group=nodes * RANKS, **shared)
    batches = plan.plan_window(0)
    took = time.perf_counter() - begun
    before, count = offsets_of(records.lengths), len(batches)
    read = asked = delivered = 0
    for node in range(nodes):
        numbers = np.flatnonzero(np.arange(count) % (nodes * RANKS) // RANKS == node)
        share = batches.share(numbers)
        ids = share.record_ids[share.record_ids >= 0]
        blocks, requests = blocks_of(before[ids], before[ids + 1])
        read, asked, delivered = read + blocks, asked + requests, delivered + int(records.lengths[ids].sum())
    steps = (batches.rows * plan.widths_of(batches)).reshape(-1, nodes * RANKS)
    return {
        "bytes a node reads for each it delivers": (read * BLOCK_BYTES / (2 * delivered), "bytes"),
        "bytes of a request": (read * BLOCK_BYTES / asked, "bytes"),
        "idle time": (100 * idle_part(steps), "%"),
        "planning 10^6 records": (took / len(records.lengths) * 1e6, "s"),
    }


@pytest.mark.parametrize("case", CASES)
def test_what_a_node_reads(figure, sized, case):
    nodes, lanes, window, block = CASES[case]
    if sized(False, nodes * lanes > 64 * 64, False):
        pytest.skip("--quick simulates up to 64 nodes")
    if sized(False, False, True):
        nodes, lanes, window = min(nodes, 4), min(lanes, 4), 4_096
    found = simulated(nodes, lanes, window, block)
    for name, (value, unit) in found.items():
        figure(f"{name}, {case}", value, unit)
    read = found["bytes a node reads for each it delivers"][0]
    assert 0.9 < read < (1.2 if lanes == nodes else 1.2 * nodes)
    if lanes == nodes and window == LARGE:
        assert found["idle time"][0] < 2  # percent


def test_the_index_of_a_record(figure, tmp_path):
    records = 10_000
    rows = Ragged(np.ones(records * TOKENS, np.uint16), np.arange(records + 1) * TOKENS)
    spans = Ragged(np.tile([100, TOKENS], records), np.arange(records + 1) * 2)
    for name, given in {"no spans": (), "a span each": (spans,)}.items():
        with StoreWriter(tmp_path / name, encoding="bytes") as writer:
            writer.append(rows, *given)
        manifest = TokenStore(tmp_path / name).manifest
        held = sum(file.bytes for shard in manifest.shards for file in shard.files) - manifest.tokens * 2
        figure(f"bytes of index of a record, {name}", held / records, "bytes")
        assert held / records < 48
