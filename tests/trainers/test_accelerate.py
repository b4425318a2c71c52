"""accelerate with a `StreamLoader`: on two ranks, saved and resumed; its own way says what to write instead."""

import json
import signal

import numpy as np
import pytest
from scripts import on_two_ranks
from tiny import STEPS, by_hand

from fastcollate import BucketedDataset, InputError, PaddingCollator, Ragged, StreamLoader
from fastcollate.trainers.accelerate import prepare_loader

accelerate = pytest.importorskip("accelerate", reason="needs the extra trainers")

pytestmark = pytest.mark.slow
SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from fastcollate import BucketedDataset, PaddingCollator, PlanError, Ragged, StreamLoader
from fastcollate.trainers.accelerate import prepare_loader
rows = Ragged.from_rows([[i + 1] * (2 + i * i % 11) for i in range(101)])
collate = PaddingCollator(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
def make(**given):
    dataset = BucketedDataset(rows, batch_size=4, seed=1)
    return prepare_loader(accelerator, StreamLoader(dataset, collate, device=accelerator.device), **given)
def ids(batch):
    return [i for i in batch.record_ids.tolist() if i >= 0]
found = {"epochs": [], "refused": []}
loader, test = make(), make(evaluation=True)
model = torch.nn.Linear(1, 1)
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
for epoch in range(2):
    found["epochs"].append([])
    updates = 0
    for number, batch in enumerate(loader):
        with accelerator.accumulate(model):
            accelerator.backward(model(batch["labels"][:, :1].float()).mean())
            updates += accelerator.sync_gradients
            optimizer.step()
            optimizer.zero_grad()
        found["epochs"][-1].append(ids(batch))
        if (epoch, number) == (1, 4):
            accelerator.save_state(sys.argv[1])
    found["updates"] = updates
accelerator.load_state(sys.argv[1])
found["resumed"] = [ids(batch) for batch in loader]
found["evaluated"] = [[ids(batch) for batch in test] for _ in range(2)]
shares = BucketedDataset(rows, batch_size=4)
prepared = accelerator.prepare(DataLoader(shares, batch_size=None, collate_fn=collate))
try:
    next(iter(prepared))
except PlanError as error:
    found["refused"].append(str(error))
accelerator.wait_for_everyone()
sys.stdout.write(json.dumps(found) + "\\n")
accelerator.end_training()
"""


def accelerator_of_one():
    return accelerate.Accelerator(cpu=True)


@pytest.mark.timeout(300)
def test_two_ranks_share_the_records_and_go_on_from_a_saved_state(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    outputs, codes = on_two_ranks(tmp_path / "script.py", tmp_path / "state")
    assert codes == [0, 0]
    ranks = [json.loads(output.splitlines()[-1]) for output in outputs]
    for epoch in range(2):
        batches = [batch for found in ranks for batch in found["epochs"][epoch]]
        assert sorted(i for batch in batches for i in batch) == list(range(101))
    for found in ranks:
        assert found["epochs"][0] != found["epochs"][1]
        assert len(found["epochs"][0]) == 13
        assert found["updates"] == 4  # of 4, 4 and 4 batches, and the last one
        assert found["resumed"] == found["epochs"][1][5:]
        assert found["evaluated"] == [found["epochs"][0]] * 2
        (refused,) = found["refused"]
        assert "accelerate's DataLoaderDispatcher reads this dataset on rank 0 alone" in refused
        assert "prepare_loader(accelerator, StreamLoader(dataset, collate_fn" in refused


TRAINING = """
import os, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from accelerate import Accelerator
from fastcollate import StreamLoader
from fastcollate.trainers.accelerate import prepare_loader
from tiny import COLLATE, STEPS, Tiny, dataset, ids_of, optimizer_of
out, phase = Path(sys.argv[1]), sys.argv[2]
accelerator, model = Accelerator(cpu=True), Tiny()
loader = prepare_loader(accelerator, StreamLoader(dataset(), COLLATE, device=accelerator.device))
model, optimizer = accelerator.prepare(model, optimizer_of(model))
step = 0
if phase == "resume":
    accelerator.load_state(out / "state")
    step = 67
with open(out / f"{phase}-{accelerator.process_index}", "w") as file:
    while step < 2 * STEPS:
        for batch in loader:
            optimizer.zero_grad()
            loss = model(batch["input_ids"], batch["labels"])
            accelerator.backward(loss)
            optimizer.step()
            step += 1
            print(loss.item(), *ids_of(batch), file=file, flush=True)
            if phase == "train" and step == 67:
                accelerator.save_state(out / "state")
            if phase == "train" and step == 74:
                time.sleep(1)  # until the other rank has what it waits for
                os.kill(os.getpid(), signal.SIGKILL)
accelerator.end_training()
"""


@pytest.mark.timeout(300)
def test_a_run_that_is_killed_goes_on_at_the_step_with_the_losses_of_a_loop_by_hand(tmp_path):
    (tmp_path / "script.py").write_text(TRAINING)
    _, killed = on_two_ranks(tmp_path / "script.py", tmp_path, "train")
    _, resumed = on_two_ranks(tmp_path / "script.py", tmp_path, "resume")
    assert (killed, resumed) == ([-signal.SIGKILL] * 2, [0, 0])
    losses, records = by_hand(2, steps=2 * STEPS)
    for rank in range(2):
        for phase, steps in (("train", slice(0, 74)), ("resume", slice(67, 2 * STEPS))):
            lines = [line.split() for line in (tmp_path / f"{phase}-{rank}").read_text().splitlines()]
            assert [[int(record) for record in line[1:]] for line in lines] == records[rank][steps]
            np.testing.assert_allclose([float(line[0]) for line in lines], losses[rank][steps], rtol=0, atol=1e-6)


def test_on_one_rank_its_own_way_has_two_whole_epochs_too():
    from torch.utils.data import DataLoader

    rows = Ragged.from_rows([[i + 1] * (2 + i * i % 11) for i in range(100)])
    loader = DataLoader(BucketedDataset(rows, batch_size=8), batch_size=None, collate_fn=PaddingCollator(0))
    prepared = accelerator_of_one().prepare(loader)
    first, second = ([batch["input_ids"][:, 0].tolist() for batch in prepared] for _ in range(2))
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(1, 101))
    assert first != second


def test_other_loaders_are_refused():
    with pytest.raises(InputError, match=r"prepare_loader got a list: give it StreamLoader\(dataset"):
        prepare_loader(accelerator_of_one(), [])
    loader = StreamLoader(
        BucketedDataset(Ragged.from_rows([[1]]), batch_size=1), PaddingCollator(0), device="meta"
    )
    with pytest.raises(InputError, match="the loader delivers to meta and the accelerator works on cpu"):
        prepare_loader(accelerator_of_one(), loader)
