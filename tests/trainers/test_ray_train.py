"""Ray: two workers train, one is killed, and both go on at the step of the checkpoint; Ray Data's columns."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from scripts import run_script
from tiny import STEPS, by_hand

from fastcollate import CollateError, PaddingCollator
from fastcollate.trainers.ray_train import rows_of

SCRIPT = """
import json, os, signal, sys, tempfile
from pathlib import Path
import ray, torch
import ray.data
import ray.train
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from fastcollate import PackingCollator, PaddingCollator
from fastcollate.trainers.ray_train import column_collator, evaluation_loader, save_loader, worker_loader
from tiny import COLLATE, Tiny, dataset, evaluation, ids_of, optimizer_of

def train_loop(config):
    out, rank, model = Path(config["out"]), ray.train.get_context().get_world_rank(), Tiny()
    before, held = ray.train.get_checkpoint(), worker_loader(config["given"], COLLATE)
    step, evaluated = 0, evaluation_loader(evaluation, COLLATE)
    if before is not None:
        with before.as_directory() as folder:
            saved = torch.load(Path(folder) / "model.pt")
            step, weights = saved["step"], saved["weights"]
            model.load_state_dict(weights)
    model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = optimizer_of(model)
    found = {"records": [], "losses": [], "begun": step, "world": [held.dataset.rank, held.dataset.world_size]}
    while step < 100:
        for batch in held:
            optimizer.zero_grad()
            loss = model(batch["input_ids"], batch["labels"])
            loss.backward()
            optimizer.step()
            found["records"].append(ids_of(batch))
            found["losses"].append(loss.item())
            step += 1
            if step % 35 == 0:
                found["seen"] = [sum(map(ids_of, evaluated), []) for _ in range(2)]
            (out / f"{rank}-{found['begun']}.json").write_text(json.dumps(found))
            if step % 35 == 0:
                with tempfile.TemporaryDirectory() as folder:
                    save_loader(held, folder)
                    torch.save({"step": step, "weights": model.module.state_dict()}, Path(folder) / "model.pt")
                    ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(folder))
            if step == 73 and not found["begun"]:
                os.kill(os.getpid(), signal.SIGKILL) if rank else None

if __name__ == "__main__":
    out = Path(sys.argv[1])
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    rows = [{"input_ids": [5, 6, 7][: 1 + i % 3], "prompt_length": 0, "text": "x"} for i in range(10)]
    columns = ray.data.from_items(rows)
    found = {"columns": [], "packs": []}
    padded, packed = map(column_collator, (PaddingCollator(0), PackingCollator(0, layout="flat")))
    for batch in columns.iter_torch_batches(batch_size=4, collate_fn=padded):
        found["columns"].append({name: tensor.tolist() for name, tensor in batch.items()})
    for batch in columns.iter_torch_batches(batch_size=10, collate_fn=packed):
        found["packs"].append(batch["cu_seqlens"].tolist())
    (out / "columns.json").write_text(json.dumps(found))
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"out": str(out), "given": dataset()},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=str(out / "runs"), failure_config=FailureConfig(max_failures=1)),
    )
    trainer.fit()
    ray.shutdown()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a run of the script has left."""
    if find_spec("ray") is None:
        pytest.skip("pip install 'fastcollate[trainers]'")
    folder = tmp_path_factory.mktemp("ray")
    done = run_script(SCRIPT, folder, seconds=380)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_of_ray_train_go_on_at_the_step_of_the_checkpoint_after_one_was_killed(folder):
    losses, records = by_hand(2, steps=2 * STEPS)
    for rank in range(2):
        killed, resumed = (json.loads(file.read_text()) for file in sorted(folder.glob(f"{rank}-*.json")))
        begun = resumed["begun"]
        assert begun in {35, 70}  # Ray may not have heard of the later one before the worker died
        steps = len(killed["records"])
        assert steps >= 72
        assert killed["world"] == [rank, 2]
        assert killed["records"] == records[rank][:steps]
        assert resumed["records"] == records[rank][begun:]
        for found, expected in ((killed, losses[rank][:steps]), (resumed, losses[rank][begun:])):
            np.testing.assert_allclose(found["losses"], expected, rtol=0, atol=1e-6)
        assert killed["seen"][0] == killed["seen"][1]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_columns_of_ray_data_are_collated_as_rows_are(folder):
    found = json.loads((folder / "columns.json").read_text())
    rows = [[5, 6, 7][: 1 + i % 3] for i in range(10)]
    expected = [PaddingCollator(0)(rows[i : i + 4]) for i in (0, 4, 8)]
    assert found["columns"] == [{name: tensor.tolist() for name, tensor in batch.items()} for batch in expected]
    assert found["packs"] == [np.cumsum([0, *map(len, rows)]).tolist()]


def test_columns_that_make_no_rows_are_refused():
    with pytest.raises(CollateError, match="the batch is a list: Ray Data hands a dict of columns"):
        rows_of([[1, 2]])
    with pytest.raises(CollateError, match=r"different numbers of rows: \{'input_ids': 2, 'labels': 1\}"):
        rows_of({"input_ids": np.zeros((2, 3), int), "labels": np.zeros((1, 3), int)})


def test_spans_of_a_column_are_those_of_its_rows():
    spans, pair = np.empty(2, object), np.empty(1, object)
    pair[0] = np.array([1, 3])
    spans[:] = [pair, pair]
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    batch = PaddingCollator(0, supervise="response")(rows_of({"input_ids": ids, "spans": spans}))
    assert batch["labels"].tolist() == [[-100, 2, 3], [-100, 5, 6]]
