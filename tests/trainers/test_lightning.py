"""Lightning: two whole epochs in two orders on two processes, resumed at a step, evaluated in one order."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from scripts import run_script
from tiny import STEPS, by_hand

# Lightning starts it once more for its second rank: the dataset is made before anybody knows of ranks.
SCRIPT = """
import json, sys
try:
    import torchvision  # which Lightning imports where it is there
except ImportError:
    pass
except RuntimeError:
    sys.exit(77)
import lightning
from fastcollate import PlanError
from fastcollate.trainers.lightning import StreamDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import COLLATE, Tiny, dataset, evaluation, ids_of, optimizer_of
out = sys.argv[1]

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.tiny, self.records, self.losses, self.seen = Tiny(), [], [], [[]]
    def training_step(self, batch, index):
        loss = self.tiny(batch["input_ids"], batch["labels"])
        self.records.append(ids_of(batch))
        self.losses.append(loss.item())
        return loss
    def on_validation_epoch_start(self):
        self.seen.append([])
    def validation_step(self, batch, index):
        self.seen[-1] += ids_of(batch)
    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    def configure_optimizers(self):
        return optimizer_of(self)

def fit(data, *, ckpt=None, save=None, check=25, **limits):
    module = Module()
    keep = [ModelCheckpoint(out + "/saved", every_n_train_steps=save, save_top_k=-1)] if save else []
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, callbacks=keep, val_check_interval=check,
        enable_checkpointing=bool(save), enable_progress_bar=False, enable_model_summary=False, **limits,
    )
    trainer.fit(module, data, ckpt_path=ckpt)
    return trainer, module

alone = StreamDataModule(dataset(rank=0, world_size=1), COLLATE)  # as in a notebook, before there is a trainer
alone = {"train": [ids_of(batch) for batch in alone.train_dataloader()], "val": alone.val_dataloader()}
made = dataset()
trainer, whole = fit(StreamDataModule(made, COLLATE, val=evaluation), max_epochs=2, save=1)
rank = trainer.global_rank
found = {"records": whole.records, "losses": whole.losses, "seen": whole.seen[2:], "sanity": whole.seen[1]}
found |= {"alone": alone, "resumed": {}}
for name in ("epoch=0-step=17", "epoch=0-step=50", "epoch=1-step=73"):
    data = StreamDataModule(dataset, COLLATE, val=evaluation)
    _, rest = fit(data, max_epochs=2, ckpt=f"{out}/saved/{name}.ckpt")
    found["resumed"][name.rpartition("=")[2]] = rest.records
trainer.test(whole, StreamDataModule(None, COLLATE, test=evaluation), verbose=False)
found["tested"] = whole.seen[-1]
_, same = fit(StreamDataModule(dataset, COLLATE), max_epochs=2, check=1, overfit_batches=3)
found["same"] = same.records
try:
    fit(StreamDataModule(dataset(rank=0, world_size=1), COLLATE), max_epochs=1)
except PlanError as error:
    found["wrong rank"] = str(error)
with open(f"{out}/{rank}.json", "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of the two ranks finds."""
    if find_spec("lightning") is None:
        pytest.skip("pip install 'fastcollate[trainers]'")
    folder = tmp_path_factory.mktemp("lightning")
    done = run_script(SCRIPT, folder, seconds=280)
    if done.returncode == 77:
        pytest.skip("the torchvision that is here was built for another torch")
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lightning_trains_two_epochs_resumes_at_a_step_and_evaluates_in_one_order(ranks):
    losses, records = by_hand(2, steps=2 * STEPS)
    for rank, found in enumerate(ranks):
        assert found["records"] == records[rank]
        np.testing.assert_allclose(found["losses"], losses[rank], rtol=0, atol=1e-6)
        assert found["resumed"] == {step: records[rank][int(step) :] for step in ("17", "50", "73")}
        assert len(found["seen"]) == 4
        assert all(seen == found["tested"] for seen in found["seen"])
        assert found["sanity"] == found["tested"][: len(found["sanity"])]
        assert found["same"] == 2 * records[rank][:3]
        assert found["wrong rank"].startswith("the dataset is rank 0 of 1, and the trainer's strategy says rank ")
    for epoch in range(2):
        both = [found["records"][epoch * STEPS : (epoch + 1) * STEPS] for found in ranks]
        assert sorted(record for steps in both for step in steps for record in step) == list(range(400))
    alone = ranks[0]["alone"]
    assert (sorted(record for batch in alone["train"] for record in batch), alone["val"]) == (list(range(400)), [])
    assert ranks[0]["records"][:STEPS] != ranks[0]["records"][STEPS:]
    assert sorted(ranks[0]["tested"] + ranks[1]["tested"]) == list(range(400))
