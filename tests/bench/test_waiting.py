"""How long ranks wait for each other, told by the plan and counted from the packs that each rank gets."""

import json

import numpy as np
import pytest
from commands import succeed

from fastcollate import PackedDataset


def counted(store, ranks, balance):
    datasets = [PackedDataset(store, length=512, rank=r, world_size=ranks, balance=balance) for r in range(ranks)]
    steps = zip(*datasets, strict=True)
    work = np.array([[(b.lengths + b.lengths**2 / 24_576).sum() for b in step] for step in steps])
    return 1 - work.mean(axis=1).sum() / work.max(axis=1).sum()


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_it_is_what_the_packs_of_each_rank_say(store, ranks):
    argv = ["--pack", 512, "--batch-size", 1, "--world-size", ranks]  # so few rows that a batch is one pack
    found = json.loads(succeed("bench", store.path, "--json", *argv))
    assert found["packs_of_a_batch"] == 1
    idle = found["idle_of_packs"]
    assert idle["ranks"] == ranks
    # The last step of an epoch is dealt out document by document, which the plan alone does not know.
    assert idle["by_work"] == pytest.approx(counted(store, ranks, 24_576), abs=5e-3)
    assert idle["at_random"] == pytest.approx(counted(store, ranks, None), abs=5e-3)
    assert idle["by_work"] <= idle["at_random"]
