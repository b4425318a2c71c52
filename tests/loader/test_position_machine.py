"""Any sequence of what a user may do with a dataset and a loader, against a list of batches and an integer."""

import copy
import json
import pickle
from itertools import islice

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from fastcollate import BucketedDataset, PackedDataset, PaddingCollator, Ragged, StreamLoader

ROWS = Ragged.from_rows([[i % 250] * (i * 7919 % 23 + 1) for i in range(90)])
KINDS = {
    "rows": lambda **world: BucketedDataset(ROWS, batch_size=7, window=40, seed=3, **world),
    "tokens": lambda **world: BucketedDataset(ROWS, max_tokens=90, window=40, seed=3, **world),
    "packs": lambda **world: PackedDataset(ROWS, length=64, window=40, seed=3, **world),
}
COLLATE = PaddingCollator(0)


def ids(batch):
    return batch.record_ids.tolist()


def make_machine(kind):  # noqa: C901  # one rule for each thing a user may do
    class Positions(RuleBasedStateMachine):
        """The model: `epoch`, and how many of its batches were delivered (`taken`)."""

        states = Bundle("states")

        def __init__(self):
            super().__init__()
            self.collate = COLLATE if kind != "packs" else (lambda batch: batch)
            self.begin(KINDS[kind]())
            self.epoch, self.taken, self.kept = 0, 0, False
            self.known = {}

        def begin(self, dataset):
            self.dataset, self.loader = dataset, StreamLoader(dataset, self.collate)
            self.batches = {}

        def batches_of(self, epoch):
            if epoch not in self.known:
                beside = KINDS[kind]()
                beside.set_epoch(epoch)
                self.known[epoch] = [ids(batch) for batch in beside]
            return self.known[epoch]

        def settle(self):
            if self.taken == len(self.batches_of(self.epoch)):
                self.epoch, self.taken = self.epoch + 1, 0

        def take(self, batches, count):
            for _ in range(count):
                batch = next(batches, None)
                if self.taken == len(self.batches_of(self.epoch)):
                    assert batch is None
                    self.settle()
                    return
                assert ids(batch) == self.batches_of(self.epoch)[self.taken]
                self.taken, self.kept = self.taken + 1, False

        @rule(count=st.integers(0, 16))
        def take_from_the_dataset(self, count):
            if count:
                self.settle()
            self.loader.close()
            self.take(iter(self.dataset), count)

        @rule(count=st.integers(0, 16))
        def take_from_the_loader(self, count):
            if count:
                self.settle()
            self.take(iter(self.loader), count)

        @rule(target=states)
        def save(self):
            state = self.dataset.state_dict()
            assert len(json.dumps(state)) <= 4096
            return json.loads(json.dumps(state)), self.epoch, self.taken

        @rule(saved=consumes(states))
        def load(self, saved):
            state, self.epoch, self.taken = saved
            self.loader.load_state_dict(state)
            self.kept = True

        @rule(saved=states)
        def begin_anew_from(self, saved):
            state, self.epoch, self.taken = saved
            self.begin(KINDS[kind]())
            self.dataset.load_state_dict(state)
            self.kept = True

        @rule(saved=states, world_size=st.integers(2, 5), steps=st.integers(0, 3))
        def go_on_over_ranks(self, saved, world_size, steps):
            state, self.epoch, self.taken = saved
            ranks = [KINDS[kind](rank=rank, world_size=world_size) for rank in range(world_size)]
            left = self.batches_of(self.epoch)[self.taken :]
            steps = min(steps, len(left) // world_size)  # what is left of the epoch then is dealt out anew
            streams = []
            for dataset in ranks:
                dataset.load_state_dict(state)
                streams.append([ids(batch) for batch in islice(dataset, steps)])
            assert [batch for step in zip(*streams, strict=True) for batch in step] == left[: steps * world_size]
            states = [dataset.state_dict() for dataset in ranks]
            assert states == world_size * states[:1]
            self.begin(KINDS[kind]())
            self.dataset.load_state_dict(states[0])
            self.taken, self.kept = self.taken + steps * world_size, True

        @rule(epoch=st.integers(0, 3))
        def set_epoch(self, epoch):
            self.loader.close()
            self.dataset.set_epoch(epoch)
            self.settle()
            if epoch != self.epoch or not self.kept:
                self.epoch, self.taken = epoch, 0
                self.kept = False

        @rule(how=st.sampled_from([copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]))
        def go_on_with_a_copy(self, how):
            self.begin(how(self.dataset))

        @invariant()
        def it_is_where_the_model_is(self):
            state = self.dataset.state_dict()
            settled = self.taken < len(self.batches_of(self.epoch))
            assert self.dataset.epoch == (self.epoch if settled else self.epoch + 1)
            assert (state["epoch"], state["batch"]) in {
                (self.epoch, self.taken),
                (self.epoch + (not settled), 0 if not settled else self.taken),
            }

    return Positions


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_uses_agrees_with_the_model(kind):
    machine = make_machine(kind).TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    machine().runTest()
