"""torch's own: a `DataLoader` over a memory-mapped dataset, rows padded by `pad_sequence`."""

from functools import partial
from itertools import islice

import torch
from mapped_rows import MappedRows, pad_rows, write_rows
from torch.utils.data import DataLoader

# torch.utils.data: "Map-style datasets" and "Working with collate_fn".
TITLE = "torch DataLoader, pad_sequence"
REQUIRES = ()
RESUME = "skip"
NOTES = ""

write = write_rows


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    batches = DataLoader(
        MappedRows(directory),
        batch_size=batch_size,
        shuffle=True,
        collate_fn=partial(pad_rows, pad_token_id=pad_token_id),
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(seed),
    )
    return islice(batches, start, None) if start else batches
