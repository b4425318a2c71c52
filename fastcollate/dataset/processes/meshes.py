"""Meshes of devices, in which some processes train on the same batches: which share is whose."""

from __future__ import annotations

import gc
import warnings
from math import prod

from torch.distributed.device_mesh import DeviceMesh

from fastcollate.errors import PlanError

__all__ = ["from_mesh", "warn_of_meshes"]

_OF_DATA = ("dp", "ddp", "fsdp", "hsdp", "data", "replicate", "shard")  # what dimensions over batches are called
_looked = False


def from_mesh(mesh: DeviceMesh) -> dict[str, int]:
    """Return the arguments `rank` and `world_size` of a dataset whose batches are divided over a mesh.

    Processes with the same place in `mesh` get the same batches: those that share a model by tensor, context or
    pipeline parallelism. So give the part of the mesh that data is divided over, `mesh["dp"]`; with two such
    dimensions both, as in `mesh["dp_replicate", "dp_shard"]`.

    Args:
        mesh: The part of a `torch.distributed.device_mesh.DeviceMesh` over which batches are divided.

    Raises:
        PlanError: `mesh` is no mesh, or this process is not in it.

    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> from_mesh(dist.init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"))["dp"])
    {'rank': 0, 'world_size': 1}
    >>> dist.destroy_process_group()
    """
    if not isinstance(mesh, DeviceMesh):
        raise PlanError(f'the mesh is a {type(mesh).__name__}: give a part of a DeviceMesh, such as mesh["dp"]')
    place = mesh.get_coordinate()
    if place is None:
        raise PlanError(f"this process is not in the {mesh}: who is not trains on nothing, and needs no dataset")
    rank = 0
    for coordinate, size in zip(place, mesh.shape, strict=True):
        rank = rank * size + coordinate
    return {"rank": rank, "world_size": prod(mesh.shape)}


def warn_of_meshes() -> None:
    """Warn, once in a process, where a mesh may divide more than data and nobody told the dataset its rank.

    torch keeps no public list of meshes. Those of this process are found among the objects that the garbage
    collector knows, which takes some hundredths of a second once; a mesh that is made later is not found. A mesh
    whose dimensions are all named as those of data (`dp_replicate`, `fsdp` ...) divides batches by itself.
    """
    global _looked  # noqa: PLW0603  # a process has one world
    if _looked:
        return
    _looked = True
    for mesh in gc.get_referrers(DeviceMesh):
        if not issubclass(type(mesh), DeviceMesh):
            continue
        names = mesh.mesh_dim_names or ["?"] * mesh.ndim
        dividing = [(name, size) for name, size in zip(names, mesh.shape, strict=True) if size > 1]
        if len(dividing) > 1 and not all(name.startswith(_OF_DATA) for name, _ in dividing):
            shown = " x ".join(f"{name}={size}" for name, size in dividing)
            warnings.warn(
                f"a mesh of {shown} processes is in use, and the dataset was told no rank: each "
                f"process takes batches of its own, also those that share a model. Give the dataset "
                f'**from_mesh(mesh["dp"]) or, where all of these divide data, rank= and world_size=',
                stacklevel=2,
            )
            return
