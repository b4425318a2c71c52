"""The notebook's loop: every record a Python list in memory, one tensor a row."""

from functools import partial
from itertools import islice

import torch
from torch.utils.data import DataLoader

from benchmarks.harness.mapped_rows import MappedRows, write_rows

TITLE = "notebook's loop"
REQUIRES = ()
RESUME = "skip"
NOTES = "all records are lists in memory"

write = write_rows


def collate(rows, *, pad_token_id):
    """Written as in the notebook, with a mask and with labels aligned."""
    longest = max(len(row) for row in rows)
    batch = {"input_ids": [], "labels": [], "attention_mask": []}
    for row in rows:
        missing = longest - len(row)
        batch["input_ids"].append(torch.tensor(row + [pad_token_id] * missing))
        batch["labels"].append(torch.tensor(row + [-100] * missing))
        batch["attention_mask"].append(torch.tensor([1] * len(row) + [0] * missing))
    return {name: torch.stack(tensors) for name, tensors in batch.items()}


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    mapped = MappedRows(directory)
    rows = [mapped[i].tolist() for i in range(len(mapped))]
    batches = DataLoader(
        rows,
        batch_size=batch_size,
        shuffle=True,
        collate_fn=partial(collate, pad_token_id=pad_token_id),
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(seed),
    )
    return islice(batches, start, None) if start else batches
