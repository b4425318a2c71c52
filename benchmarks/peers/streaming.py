"""MosaicML Streaming: MDS shards, `StreamingDataset` and `StreamingDataLoader`."""

from functools import partial

import numpy as np
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset

from benchmarks.harness.mapped_rows import as_tensor, pad_rows

# Streaming: "Dataset Format" (MDS), "Fast Resumption"; shuffle_algo py1e is its default.
TITLE = "MosaicML Streaming"
REQUIRES = ("streaming",)
RESUME = "state"
NOTES = "shuffles in blocks of 262,144 records or more"


def write(store, directory):
    dtype = store.take(np.arange(1)).values.dtype
    with MDSWriter(out=str(directory), columns={"tokens": f"ndarray:{dtype}"}) as writer:
        for row in store:
            writer.write({"tokens": np.asarray(row)})


def collate(samples, *, pad_token_id):
    return pad_rows([as_tensor(sample["tokens"]) for sample in samples], pad_token_id=pad_token_id)


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    dataset = StreamingDataset(local=str(directory), shuffle=True, shuffle_seed=seed, batch_size=batch_size)
    batches = StreamingDataLoader(
        dataset,
        batch_size=batch_size,
        collate_fn=partial(collate, pad_token_id=pad_token_id),
        num_workers=num_workers,
    )
    if start:
        batches.load_state_dict(start)
    return batches


def checkpoint(directory, *, batches, batch_size, **arguments):
    run = loader(directory, batch_size=batch_size, **arguments)
    next(iter(run))  # an epoch must have begun; its state is a count of samples
    return run.dataset.state_dict(batches * batch_size, from_beginning=True)
