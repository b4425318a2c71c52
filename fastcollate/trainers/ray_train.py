"""Ray: the loader of a worker of Ray Train, kept in its checkpoints, and a collator for Ray Data's columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastcollate.errors import CollateError, StateError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.framework import framework
from fastcollate.trainers.given import Evaluation, Given, of_rank

__all__ = ["column_collator", "evaluation_loader", "rows_of", "save_loader", "worker_loader"]

_FILE = "fastcollate.json"


def worker_loader(given: Given, collate_fn: Callable[[Any], Any], *, num_workers: int = 0) -> StreamLoader:
    """Return the loader of this worker, inside `train_loop_per_worker`.

    Its batches are those of the worker's rank, on the worker's device. Where Ray Train has begun the workers anew
    from a checkpoint, it goes on at the batch after that checkpoint, also with another number of workers.

    Args:
        given: A dataset, or a function that makes it of `rank=` and `world_size=`.
        collate_fn: What makes a batch of rows, such as a `PaddingCollator`.
        num_workers: The number of processes that read; 0, the default, reads in the worker itself.

    Raises:
        PlanError: The dataset is another rank's.
        StateError: There is a checkpoint, and `save_loader` has put nothing into it.

    >>> def train_loop_per_worker(config):
    ...     make = lambda **ranks: BucketedDataset(TokenStore(config["store"]), batch_size=8, **ranks)
    ...     loader = worker_loader(make, PaddingCollator(0))
    """
    loader = _loader(given, collate_fn, num_workers)
    checkpoint = framework("ray.train").get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            loader.load_state_dict(_saved_in(Path(directory)))
    return loader


def evaluation_loader(given: Given, collate_fn: Callable[[Any], Any], *, num_workers: int = 0) -> Evaluation:
    """Return what delivers an evaluation set of this worker, in one order in each pass.

    Args:
        given: A dataset, or a function that makes it of `rank=` and `world_size=`.
        collate_fn: What makes a batch of rows.
        num_workers: The number of processes that read; 0 by default.

    Raises:
        PlanError: The dataset is another rank's.

    >>> def train_loop_per_worker(config):
    ...     make = lambda **ranks: BucketedDataset(TokenStore(config["store"]), batch_size=8, **ranks)
    ...     evaluation = evaluation_loader(make, PaddingCollator(0))
    """
    return Evaluation(_loader(given, collate_fn, num_workers))


def save_loader(loader: StreamLoader, directory: Path | str) -> None:
    """Write how much a loader has delivered into the directory that becomes a checkpoint.

    It is the same on every worker: that of one is enough.

    Args:
        loader: What `worker_loader` has returned.
        directory: Where the model is saved, too, before `ray.train.Checkpoint.from_directory(directory)`.

    >>> import tempfile
    >>> from fastcollate import BucketedDataset, PaddingCollator, Ragged
    >>> loader = StreamLoader(BucketedDataset(Ragged.from_rows([[1]]), batch_size=1), PaddingCollator(0))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save_loader(loader, directory)
    """
    (Path(directory) / _FILE).write_text(json.dumps(loader.state_dict()))


def column_collator(collate_fn: Callable[[Any], Any]) -> Any:
    """Return what `iter_torch_batches(collate_fn=...)` of Ray Data takes, whose batches are dicts of columns.

    Ray hands on a dict of the tensors, on the worker's device.

    Args:
        collate_fn: What makes a batch of rows, such as a `PaddingCollator`; it reads the columns `input_ids`,
            `labels`, `prompt_length` and so on, and leaves columns of other names.

    Raises:
        CollateError: At the batch: columns that make no rows, or rows that make no batch.

    >>> def train_loop_per_worker(config):
    ...     shard, collate = ray.train.get_dataset_shard("train"), column_collator(PaddingCollator(0))
    ...     for batch in shard.iter_torch_batches(batch_size=8, collate_fn=collate):
    ...         print(batch["input_ids"].shape)
    """
    base = framework("ray.data.collate_fn").NumpyBatchCollateFn
    return type("ColumnCollator", (base,), {"__call__": lambda _, columns: collate_fn(rows_of(columns))})()


def rows_of(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a batch of columns: arrays of one entry for each row.

    Args:
        columns: Arrays by name; rows of different lengths are an array of arrays.

    Raises:
        CollateError: `columns` are no columns, or differ in length.

    >>> rows_of({"input_ids": np.array([[1, 2], [3, 4]]), "prompt_length": np.array([1, 0])})[1]
    {'input_ids': array([3, 4]), 'prompt_length': np.int64(0)}
    """
    if not isinstance(columns, Mapping):
        raise CollateError(f"the batch is a {type(columns).__name__}: Ray Data hands a dict of columns")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise CollateError(f"the columns have different numbers of rows: {lengths}")
    lists = ([_plain(value) for value in column] for column in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _plain(value: Any) -> Any:
    """A row's value; an array of arrays, such as its spans, as a list."""
    return list(value) if isinstance(value, np.ndarray) and value.dtype == object else value


def _loader(given: Given, collate_fn: Callable[[Any], Any], num_workers: int) -> StreamLoader:
    context = framework("ray.train").get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    dataset = of_rank(given, rank=rank, world_size=size, told_by="Ray Train")
    device = framework("ray.train.torch").get_device()
    return StreamLoader(dataset, collate_fn, device=device, num_workers=num_workers)


def _saved_in(directory: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((directory / _FILE).read_text())
    except FileNotFoundError:
        raise StateError(
            f"the checkpoint has no {_FILE}: call save_loader(loader, directory) before "
            "Checkpoint.from_directory(directory), or the data would begin anew"
        ) from None
    return state
