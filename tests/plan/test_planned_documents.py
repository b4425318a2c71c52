"""The documents of packs: each window's are read once, and small windows' together."""

from functools import partial

import numpy as np
import pytest
from plans import Known, fields, global_batches

from fastcollate.plan.pack_plans.pack_plan import BestFitPacks, WrappedPacks


class Counted(Known):
    """Records that note how often each was asked for its length."""

    def __init__(self, lengths):
        super().__init__(lengths)
        self.asked = np.zeros(len(lengths), np.int64)

    def lengths_at(self, indices):
        np.add.at(self.asked, indices, 1)
        return super().lengths_at(indices)


@pytest.mark.parametrize("together", [1, 30, 65_536])
@pytest.mark.parametrize(
    "strategy", [WrappedPacks, partial(BestFitPacks, overlong="split")], ids=["wrap", "best fit"]
)
def test_an_epoch_asks_for_each_length_once(monkeypatch, strategy, together):
    """Also where documents go on in the next window, or through several small ones."""
    monkeypatch.setattr("fastcollate.plan.pack_plans.pack_plan.TOGETHER", together)
    records = Counted(np.arange(200) * 7919 % 83 + 1)
    plan = strategy(**fields(records, window=10, group=2), length=50, batch_size=2)
    assert len(global_batches(plan)) == plan.num_batches
    np.testing.assert_array_equal(records.asked, np.ones(200, np.int64))


@pytest.mark.parametrize("together", [1, 25, 65_536])
def test_windows_read_in_any_order_have_the_same_documents(monkeypatch, together):
    monkeypatch.setattr("fastcollate.plan.pack_plans.pack_plan.TOGETHER", together)
    plan = WrappedPacks(**fields(Known(np.arange(1, 98)), window=10), length=50, batch_size=2)
    for number in (0, 1, 0, 9, 3, 2, 9, 8, 4):
        records = plan.order(*plan.bounds(number))
        expected = records, np.zeros_like(records), records + 1
        for found, wanted in zip(plan.documents(number), expected, strict=True):
            np.testing.assert_array_equal(found, wanted, strict=True)
