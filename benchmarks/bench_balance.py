"""Idle time: how long ranks wait for the one with the most work, ours beside other ways to pack and deal."""

import numpy as np
import pytest

from benchmarks.harness.corpora import DISTRIBUTIONS
from benchmarks.harness.planned import Known, idle_part
from fastcollate.plan.pack_plans.balance import work_of
from fastcollate.plan.pack_plans.pack_plan import PackPlan
from fastcollate.plan.planning import plan_buckets, plan_packs
from fastcollate.reports.idle_time import IdleTime

BALANCE = 24_576  # of a model of 7 billion parameters
LONGEST = 8192
RANKS = (2, 8, 64)
LAWS = ("short", "long-tailed")


def drawn(law, records):
    mu, sigma, _ = DISTRIBUTIONS[law]
    return np.clip(np.random.default_rng(0).lognormal(mu, sigma, records), 8, LONGEST).astype(np.int64)


class Answers(Known):
    """The same, of which a part is the answer, drawn evenly."""

    def __init__(self, lengths):
        super().__init__(lengths)
        self.targets = (lengths * np.random.default_rng(2).random(len(lengths))).astype(np.int64)

    def supervised_at(self, indices):
        return self.targets[indices]


def planned(lengths, length, ranks, balance):
    """The work of each rank, a row a step."""
    plan: PackPlan = plan_packs(
        np.unique(lengths, return_counts=True), Known(lengths), length=length, group=ranks, balance=balance
    )
    costs, records = [], []
    for _, window in plan.windows():
        pieces = window.whole.pieces
        before = np.concatenate([[0], np.cumsum(work_of(pieces.lengths, BALANCE))])[window.whole.packs.edges]
        costs.append((before[window.stops] - before[window.starts]).reshape(-1, ranks))
        records.append(pieces.records)
        assert np.array_equal(pieces.lengths, lengths[pieces.records])
        assert int(window.whole.packs.used.max()) <= length
    assert np.array_equal(np.sort(np.concatenate(records)), np.arange(len(lengths)))
    return np.concatenate(costs)


def dealt(packs, lengths, length, ranks):
    """The work of each rank where packs, lists of lengths, are dealt to ranks as they come."""
    assert np.array_equal(np.sort(np.concatenate(packs)), np.sort(lengths))
    assert max(sum(pack) for pack in packs) <= length
    costs = np.zeros(-(-len(packs) // ranks) * ranks, np.int64)
    costs[: len(packs)] = [int(work_of(np.asarray(pack), BALANCE).sum()) for pack in packs]
    return costs.reshape(-1, ranks)


def first_fit(lengths, length):
    """What multipack samplers do: each record of a shuffled epoch goes into the first pack that has room."""
    size = 1
    while size < len(lengths):
        size *= 2
    rooms = [length] * (2 * size)  # a tree: each node has the most room of the packs below it
    packs = [[] for _ in range(len(lengths))]
    for tokens in np.random.default_rng(1).permutation(lengths).tolist():
        at = 1
        while at < size:
            at = 2 * at if rooms[2 * at] >= tokens else 2 * at + 1
        packs[at - size].append(tokens)
        rooms[at] -= tokens
        while at > 1:
            at //= 2
            rooms[at] = max(rooms[2 * at], rooms[2 * at + 1])
    return [pack for pack in packs if pack]


def told(figure, title, costs, lengths, length):
    """Record how much of all ranks' time is idle, and how full the cells are that they train on."""
    idle = idle_part(costs)
    figure(f"idle time, {title}", 100 * idle, "%")
    figure(f"efficiency, fillers counted, {title}", 100 * lengths.sum() / (costs.size * length), "%")
    return idle


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("length", [8192, 32_768])
@pytest.mark.parametrize("law", LAWS)
def test_ranks_wait_little(figure, full_size, law, length, ranks):
    lengths = drawn(law, 60_000 if full_size else 3_000)
    title = f"{law}, packs of {length}, {ranks} ranks"
    costs = planned(lengths, length, ranks, BALANCE)
    ours = told(figure, f"{title}: fastcollate", costs, lengths, length)
    before = told(
        figure, f"{title}: packs dealt at random", planned(lengths, length, ranks, None), lengths, length
    )
    assert ours < before
    if full_size:
        assert ours <= (0.01 if len(costs) >= 20 else 0.02)
    theirs = dealt(first_fit(lengths, length), lengths, length, ranks)
    told(figure, f"{title}: first-fit multipack", theirs, lengths, length)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("max_tokens", [8192, 32_768])
@pytest.mark.parametrize("law", LAWS)
def test_ranks_wait_little_for_padded_batches(figure, full_size, law, max_tokens, ranks):
    records = Known(drawn(law, 60_000 if full_size else 3_000))
    plan = plan_buckets(records.histogram, records, max_tokens=max_tokens, group=ranks)
    costs = [window.rows * work_of(plan.widths_of(window), BALANCE) for _, window in plan.windows()]
    every = np.concatenate(costs).reshape(-1, ranks)
    idle = 100 * idle_part(every)
    figure(f"idle time, {law}, batches of up to {max_tokens} tokens, {ranks} ranks, {len(every)} steps", idle, "%")
    if full_size and len(every) >= 20:  # steps of a window
        assert idle < 5  # percent


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("law", LAWS)
def test_targets_are_shared(figure, full_size, law, ranks):
    records = Answers(drawn(law, 60_000 if full_size else 3_000))
    spread = {}
    for balance, name in ((None, "packs dealt at random"), (BALANCE, "by cost"), ("targets", "by targets")):
        plan = plan_packs(records.histogram, records, length=LONGEST, group=ranks, balance=balance)
        whole = IdleTime(BALANCE, records.targets)
        for _, window in plan.windows():
            whole.add(window, ranks)
        spread[balance] = whole.facts()["supervised_spread"]
        figure(f"supervised spread, {law}, packs of {LONGEST}, {ranks} ranks: {name}", spread[balance], "times")
    assert spread["targets"] < spread[None]
    if full_size:
        assert spread["targets"] <= 1.1


@pytest.mark.filterwarnings("default")  # what the peer's own imports warn of is no failure of ours
@pytest.mark.parametrize("length", [8192, 32_768])
@pytest.mark.parametrize("law", LAWS)
def test_trls_packs_dealt_as_they_come(figure, full_size, law, length):
    trl = pytest.importorskip("trl", reason="the peer is not installed: pip install trl")
    datasets = pytest.importorskip("datasets")
    import pyarrow as pa  # noqa: PLC0415  # which datasets brings

    lengths = drawn(law, 60_000 if full_size else 1_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    rows = pa.ListArray.from_arrays(offsets, np.zeros(offsets[-1], np.int32))
    table = datasets.Dataset(pa.table({"input_ids": rows}))
    packed = trl.pack_dataset(
        table, seq_length=length, strategy="bfd", map_kwargs={"load_from_cache_file": False, "batch_size": 65_536}
    )
    packs = packed["seq_lengths"]
    for ranks in RANKS:
        title = f"{law}, packs of {length}, {ranks} ranks: TRL's bfd"
        told(figure, title, dealt(list(packs), lengths, length, ranks), lengths, length)
