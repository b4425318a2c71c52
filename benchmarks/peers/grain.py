"""Google's Grain: an ArrayRecord file, `MapDataset` and its checkpointable iterator."""

from functools import partial
from itertools import islice
from pathlib import Path

import grain
import numpy as np
import torch
from array_record.python.array_record_module import ArrayRecordWriter

# Grain: "Dataset Basics" (batched before it becomes an iterator) and "ArrayRecord"; `ReadOptions` asks for no
# threads where the data are in memory, as files just written are.
TITLE = "Grain"
REQUIRES = ("grain", "array_record")
RESUME = "state"
NOTES = "shards of 10,000 records: reading one of ArrayRecord's takes time in proportion to its file's"

SHARD = 10_000


def write(store, directory):
    Path(directory).mkdir(parents=True)
    dtype = store.take(np.arange(1)).values.dtype
    for first in range(0, len(store), SHARD):
        path = Path(directory) / f"{first:09d}.{dtype}"
        writer = ArrayRecordWriter(str(path), "group_size:1")  # as random access asks for
        for i in range(first, min(first + SHARD, len(store))):
            writer.write(np.asarray(store[i]).tobytes())
        writer.close()


def collate(rows, *, pad_token_id):
    """NumPy arrays, as Grain's shared memory takes them: padded by one slice assignment a row."""
    shape = (len(rows), max(map(len, rows)))
    batch = {"input_ids": np.full(shape, pad_token_id), "labels": np.full(shape, -100)}
    batch["attention_mask"] = np.zeros(shape, np.int64)
    for i, row in enumerate(rows):
        batch["input_ids"][i, : len(row)] = batch["labels"][i, : len(row)] = row
        batch["attention_mask"][i, : len(row)] = 1
    return batch


def as_tensors(batch):
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    shards = sorted(Path(directory).iterdir())
    dataset = (
        grain.MapDataset.source(grain.sources.ArrayRecordDataSource(list(map(str, shards))))
        .shuffle(seed=seed)
        .map(partial(np.frombuffer, dtype=shards[0].suffix[1:]))
        .batch(batch_size, batch_fn=partial(collate, pad_token_id=pad_token_id))
        .to_iter_dataset(grain.ReadOptions(num_threads=0))
        .mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))
        .map(as_tensors)
    )
    batches = iter(dataset)
    if start:
        batches.set_state(start)
    return batches


def checkpoint(directory, *, batches, **arguments):
    run = loader(directory, **arguments)
    for _ in islice(run, batches):
        pass
    state = run.get_state()
    run.close()
    return state
