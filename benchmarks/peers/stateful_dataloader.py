"""torchdata's `StatefulDataLoader` over a memory-mapped dataset."""

from functools import partial

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.harness.mapped_rows import MappedRows, pad_rows, write_rows
from benchmarks.peers import earn_state

# torchdata: "Stateful DataLoader Tutorial", the map-style part: shuffle=True, state_dict after each batch.
TITLE = "torchdata StatefulDataLoader"
REQUIRES = ("torchdata",)
RESUME = "state"
NOTES = ""

write = write_rows


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    batches = StatefulDataLoader(
        MappedRows(directory),
        batch_size=batch_size,
        shuffle=True,
        collate_fn=partial(pad_rows, pad_token_id=pad_token_id),
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(seed),
    )
    if start:
        batches.load_state_dict(start)
    return batches


def checkpoint(directory, *, batches, **arguments):
    return earn_state(loader(directory, **arguments), batches)
