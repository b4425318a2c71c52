"""LitData: chunks made by `optimize`, `StreamingDataset` and `StreamingDataLoader`."""

from functools import partial

import numpy as np
from litdata import StreamingDataLoader, StreamingDataset, optimize

from benchmarks.harness.mapped_rows import as_tensor, pad_rows
from benchmarks.peers import earn_state

# LitData's README: "Speed up model training" (optimize, 64 MB chunks), "Pause, resume data streaming".
# Its `TokensLoader`, meant for pretraining, joins records and cuts them: no rows to pad are left.
TITLE = "LitData"
REQUIRES = ("litdata",)
RESUME = "state"
NOTES = "shuffles chunks, and records inside a chunk"


def read(index, *, store):
    return np.array(store[index])


def write(store, directory):
    optimize(
        fn=partial(read, store=store),
        inputs=list(range(len(store))),
        output_dir=str(directory),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
    )


def collate(rows, *, pad_token_id):
    return pad_rows([as_tensor(row) for row in rows], pad_token_id=pad_token_id)


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    batches = StreamingDataLoader(
        StreamingDataset(str(directory), shuffle=True, drop_last=False, seed=seed),
        batch_size=batch_size,
        collate_fn=partial(collate, pad_token_id=pad_token_id),
        num_workers=num_workers,
    )
    if start:
        batches.load_state_dict(start)
    return batches


def checkpoint(directory, *, batches, **arguments):
    return earn_state(loader(directory, **arguments), batches)
