"""`fastcollate plan`: the dry run says what the epoch then is."""

import json

import numpy as np
import pytest
from commands import fail, succeed
from oracles import best_widths

from fastcollate import BucketedDataset, PackedDataset, PaddingCollator
from fastcollate.plan.planning import plan_buckets
from fastcollate.reports.plan_summary import least_cells, plain_cells


def epoch_of(store, world_size, **arguments):
    return [
        [
            PaddingCollator(256)(batch)
            for batch in BucketedDataset(store, rank=rank, world_size=world_size, **arguments)
        ]
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        (["--batch-size", "16"], {"batch_size": 16}),
        (
            ["--batch-size", "16", "--buckets", "3", "--drop-last"],
            {"batch_size": 16, "buckets": 3, "drop_last": True},
        ),
        (["--max-tokens", "2000", "--seed", "5"], {"max_tokens": 2000, "seed": 5}),
        (["--max-tokens", "2000", "--buckets", "4"], {"max_tokens": 2000, "buckets": 4}),
    ],
)
def test_it_counts_what_the_ranks_then_get(store, world_size, flags, arguments):
    output = succeed("plan", str(store.path), *flags, "--world-size", str(world_size), "--json")
    facts = json.loads(output)
    ranks = epoch_of(store, world_size, **arguments)
    batches = [batch for rank in ranks for batch in rank]
    assert [len(rank) for rank in ranks] == [facts["batches_per_rank"]] * world_size
    assert facts["rank_tokens"] == [sum(batch.num_tokens for batch in rank) for rank in ranks]
    cells = sum(batch["input_ids"].numel() for batch in batches)
    assert facts["padding"]["plan"] == pytest.approx(1 - facts["tokens"] / cells)
    assert facts["filler_rows"] == sum(int((batch.record_ids < 0).sum()) for batch in batches)
    shapes = {(rows, width): count for rows, width, count in facts["shapes"]}
    found = [tuple(batch["input_ids"].shape) for batch in batches]
    assert shapes == {shape: found.count(shape) for shape in set(found)}
    assert facts["padding"]["lower_bound"] <= facts["padding"]["plan"] < facts["padding"]["plain_loop"]


def test_people_get_a_table(store):
    lines = succeed("plan", str(store.path), "--batch-size", "16", "--world-size", "2").splitlines()
    assert [line.split()[0] for line in lines] == [
        "records", "batches", "filler", "padding", "balance", "shuffle", "waiting", "planning", "shapes",
    ]  # fmt: skip
    assert "32 on each of 2 ranks" in lines[1]


def test_the_bounds_equal_their_slow_definitions(store):
    lengths = store.lengths
    values, counts = np.unique(lengths, return_counts=True)
    ordered = np.sort(lengths)[::-1]
    for rows in (1, 7, 16, 2000):
        plan = plan_buckets(store.length_histogram(), store.at_epoch(0, 0), batch_size=rows)
        expected = sum(
            int(ordered[i : i + rows].max()) * len(ordered[i : i + rows]) for i in range(0, len(ordered), rows)
        )
        assert least_cells(plan, values, counts) == expected
        shuffled = lengths[plan.order(0, len(store))]
        chunks = [shuffled[i : i + rows] for i in range(0, len(store), rows)]
        assert plain_cells(plan, rows) == sum(int(chunk.max()) * len(chunk) for chunk in chunks)
    budget = plan_buckets(store.length_histogram(), store.at_epoch(0, 0), max_tokens=500)
    at = cells = 0
    while at < len(ordered):
        rows = 500 // int(ordered[at])
        cells += len(ordered[at : at + rows]) * int(ordered[at])
        at += rows
    assert least_cells(budget, values, counts) == cells
    few, few_counts = values[:8], counts[:8]
    static = plan_buckets(
        store.length_histogram(), store.at_epoch(0, 0), batch_size=4, max_length=int(few[-1]), buckets=3
    )
    assert least_cells(static, *_clipped(lengths, int(few[-1]))) >= best_widths(
        few.tolist(), few_counts.tolist(), 3
    )


def _clipped(lengths, longest):
    return np.unique(np.minimum(lengths, longest), return_counts=True)


def test_packs_are_counted(store):
    facts = json.loads(succeed("plan", str(store.path), "--pack", "256", "--json"))
    batches = list(PackedDataset(store, length=256))
    assert facts["packs"] == len(batches) == facts["batches_per_rank"]
    assert facts["efficiency"] == pytest.approx(store.num_tokens / (len(batches) * 256))
    assert facts["documents_per_pack"] == pytest.approx(len(store) / len(batches))
    assert facts["packs_lower_bound"] == -(-store.num_tokens // 256) <= facts["packs"]
    lines = succeed("plan", str(store.path), "--pack", "256").splitlines()
    assert [line.split()[0] for line in lines] == [
        "records",
        "packs",
        "efficiency",
        "documents",
        "batches",
        "shuffle",
        "planning",
    ]
    assert "more than a pack of 100" in fail("plan", str(store.path), "--pack", "100")
    assert "--buckets is for padded batches" in fail("plan", str(store.path), "--pack", "256", "--buckets", "2")


def test_a_dropped_step_counts_neither_as_packs_nor_as_tokens(store):
    flags = ["--world-size", "7", "--drop-last", "--json"]
    facts = json.loads(succeed("plan", str(store.path), "--pack", "256", *flags))
    ranks = [PackedDataset(store, length=256, drop_last=True, rank=rank, world_size=7) for rank in range(7)]
    batches = [batch for rank in ranks for batch in rank]
    assert facts["packs"] == len(batches) == facts["batches_per_rank"] * 7
    assert facts["tokens"] == sum(int(batch.lengths.sum()) for batch in batches) < store.num_tokens
    assert facts["documents_per_pack"] == pytest.approx(sum(map(len, batches)) / len(batches))
    assert facts["efficiency"] <= 1


@pytest.mark.parametrize("size", [["--pack", "256"], ["--batch-size", "16"], ["--max-tokens", "2000"]])
def test_an_epoch_of_no_batches_is_counted_too(store, size):
    flags = [*size, "--world-size", "5000", "--drop-last"]
    facts = json.loads(succeed("plan", str(store.path), *flags, "--json"))
    assert (facts["batches_per_rank"], facts["tokens"]) == (0, 0)
    lines = succeed("plan", str(store.path), *flags).splitlines()
    assert any("0 on each of 5,000 ranks" in line for line in lines)


def test_idle_time_of_ranks_is_told_and_drawn(store):
    flags = ["--pack", "256", "--world-size", "4"]
    dealt = {}
    for balance in ("24576", "none"):
        facts = json.loads(succeed("plan", str(store.path), *flags, "--balance", balance, "--json"))
        arguments = {"length": 256, "balance": None if balance == "none" else 24_576, "world_size": 4}
        ranks = [PackedDataset(store, rank=rank, **arguments) for rank in range(4)]
        costs = [
            [sum(n * (n + 24_576) for n in b.lengths.tolist()) for b in step] for step in zip(*ranks, strict=True)
        ]
        idle = [1 - sum(step) / 4 / max(step) for step in costs]
        assert facts["steps"] == len(costs) == facts["batches_per_rank"]
        assert facts["idle"] == pytest.approx(1 - sum(map(sum, costs)) / 4 / sum(map(max, costs)))
        assert facts["idle_of_a_step"]["mean"] == pytest.approx(np.mean(idle))
        assert facts["idle_of_a_step"]["p99"] == pytest.approx(np.quantile(idle, 0.99))
        assert facts["efficiency"] == pytest.approx(facts["tokens"] / (facts["batches_per_rank"] * 4 * 256))
        assert [len(facts["ranks_of_a_step"]), max(facts["ranks_of_a_step"])] == [4, 1.0]
        dealt[balance] = facts["idle"]
    assert dealt["24576"] < dealt["none"]
    lines = succeed("plan", str(store.path), *flags).splitlines()
    assert any(line.startswith("idle time") for line in lines)
    assert "work of the 4 ranks in a usual step, the busiest first" in lines
    assert lines[-4].endswith("100.0 %")
    small = succeed("plan", str(store.path), *flags, "--window", "30")
    assert "would make less than 1 % idle" in small
    plain = succeed("plan", str(store.path), *flags, "--balance", "none")
    assert "--balance deals neighbours in cost to a step" in plain


@pytest.mark.parametrize("size", [["--max-tokens", "2000"], ["--batch-size", "8"], ["--pack", "256"]])
def test_lanes_are_planned(store, size):
    flags = [*size, "--world-size", "4", "--window", "20", "--json"]
    alone, four = (json.loads(succeed("plan", str(store.path), *flags, *more)) for more in ([], ["--lanes", "4"]))
    assert (alone["lanes"], four["lanes"]) == (1, 4)
    assert (alone["records"], alone["tokens"]) == (four["records"], four["tokens"])
    arguments = {"batch_size": 8} if "--batch-size" in size else {"max_tokens": 2000}
    if "--pack" in size:
        dataset = PackedDataset(store, length=256, window=20, lanes=4, rank=0, world_size=4)
    else:
        dataset = BucketedDataset(store, **arguments, window=20, lanes=4, rank=0, world_size=4)
    assert four["batches_per_rank"] == len(dataset)
    assert "lanes is 0: it must be" in fail("plan", str(store.path), *flags, "--lanes", "0")


def test_targets_are_shared_where_that_is_asked_for(store):
    flags = ["--pack", "256", "--world-size", "4", "--window", "30", "--json"]
    by = {
        dealt: json.loads(succeed("plan", str(store.path), *flags, "--balance", dealt))
        for dealt in ("24576", "targets")
    }
    assert by["targets"]["dealt"] == "by targets"
    assert by["targets"]["supervised_spread"] < by["24576"]["supervised_spread"]
    assert by["targets"]["balance"] == 24_576  # by which idle time is told
    lines = succeed("plan", str(store.path), *flags[:-1], "--balance", "targets")
    assert "would make less" not in lines


def test_a_balance_that_is_none_is_named(store):
    assert "balance is 0: it must be an integer" in fail(
        "plan", str(store.path), "--pack", "256", "--balance", "0"
    )
    assert "--balance is for packs" in fail("plan", str(store.path), "--batch-size", "16", "--balance")
