"""Meshes: who shares a model gets the same batches, and who forgot to say so is told."""

import json
import os
import subprocess
import sys

import pytest

from fastcollate import PlanError, from_mesh

# Each rank of a world of four in turn, by torch's backend that only pretends to talk to others.
SCRIPT = """
import json, warnings
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from fastcollate import BucketedDataset, Ragged, from_mesh
from fastcollate.dataset.processes import meshes
rows = Ragged.from_rows([[1] * (i % 9 + 1) for i in range(100)])
def ids(**ranks):
    batches = BucketedDataset(rows, batch_size=4, **ranks)
    return [record for batch in batches for record in batch.record_ids.tolist() if record >= 0]
def warned_of(names):
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=names)
        given, quiet, alone = ids(**from_mesh(mesh[names[0]])), len(caught), ids()
        found = {"ranks": [from_mesh(mesh[names[0]]), from_mesh(mesh)], "given": given, "alone": alone}
    dist.destroy_process_group()
    return found | {"quiet": quiet, "warnings": [str(warning.message) for warning in caught]}
rank = 2
data_alone = warned_of(("dp_replicate", "dp_shard"))["warnings"]
meshes._looked = False
found = []
for rank in range(4):
    found.append(warned_of(("dp", "tp")))
print(json.dumps([data_alone, found]))
"""


def test_peers_of_tensor_parallelism_get_the_same_batches_and_who_forgets_that_is_warned():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment
    ).stdout
    data_alone, found = json.loads(output.splitlines()[-1])
    assert data_alone == []
    assert [each["ranks"] for each in found] == [
        [{"rank": rank // 2, "world_size": 2}, {"rank": rank, "world_size": 4}] for rank in range(4)
    ]
    assert found[0]["given"] == found[1]["given"]
    assert found[2]["given"] == found[3]["given"]
    assert sorted(found[0]["given"] + found[2]["given"]) == list(range(100))
    assert sorted(record for each in found for record in each["alone"]) == list(range(100))
    assert [each["quiet"] for each in found] == [0, 0, 0, 0]
    assert [len(each["warnings"]) for each in found] == [1, 0, 0, 0]
    (message,) = found[0]["warnings"]
    assert message.startswith("a mesh of dp=2 x tp=2 processes is in use, and the dataset was told no rank")
    assert '**from_mesh(mesh["dp"])' in message


def test_what_is_no_mesh_is_refused():
    with pytest.raises(PlanError, match=r'the mesh is a tuple: give a part of a DeviceMesh, such as mesh\["dp"\]'):
        from_mesh((2, 2))
