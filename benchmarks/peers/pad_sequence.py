"""torch's own: a `DataLoader` over a memory-mapped dataset, rows padded by `pad_sequence`."""

from functools import partial

import torch
from torch.utils.data import DataLoader

from benchmarks.harness.mapped_rows import MappedRows, pad_rows, write_rows

# torch.utils.data: "Map-style datasets", "Data Loading Order and Sampler" and "Working with collate_fn".
TITLE = "torch DataLoader, pad_sequence"
REQUIRES = ()
RESUME = "skip"
NOTES = "resuming slices the shuffled order, which is the sampler"

write = write_rows


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    rows = MappedRows(directory)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return DataLoader(
        rows,
        batch_size=batch_size,
        sampler=order[start * batch_size :],
        collate_fn=partial(pad_rows, pad_token_id=pad_token_id),
        num_workers=num_workers,
    )
