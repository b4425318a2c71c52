"""WebDataset: tar shards, a shuffle of shards and a shuffle buffer."""

from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import webdataset as wds

from benchmarks.harness.mapped_rows import as_tensor, pad_rows

# WebDataset's README and "Sharding, Parallel I/O, and DataLoader": batches are made inside the dataset.
TITLE = "WebDataset"
REQUIRES = ("webdataset",)
RESUME = "skip"
NOTES = "shuffles shards, and records in a buffer of 1,000"

SHARD = 10_000


def write(store, directory):
    Path(directory).mkdir(parents=True)
    records = min(SHARD, -(-len(store) // 4))  # a worker without a shard would be an error
    with wds.ShardWriter(str(Path(directory) / "%06d.tar"), maxcount=records, verbose=0) as writer:
        for i, row in enumerate(store):
            writer.write({"__key__": f"{i:09d}", "npy": np.array(row)})


def collate(rows, *, pad_token_id):
    return pad_rows([as_tensor(row) for (row,) in rows], pad_token_id=pad_token_id)


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    shards = sorted(str(path) for path in Path(directory).glob("*.tar"))
    dataset = (
        wds.WebDataset(shards, shardshuffle=100, detshuffle=True, seed=seed)
        .shuffle(1000, seed=seed)
        .decode()
        .to_tuple("npy")
        .batched(batch_size, collation_fn=partial(collate, pad_token_id=pad_token_id))
    )
    batches = wds.WebLoader(dataset, batch_size=None, num_workers=num_workers)
    return islice(batches, start, None) if start else batches
