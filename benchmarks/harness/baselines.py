"""What people write without this library, in a few plain lines."""

import numpy as np
import torch


def notebook_collate(rows, pad, ignore=-100):
    """The notebook's collate function: Python lists, one tensor a row."""
    longest = max(len(row) + 1 for row in rows)
    inputs, targets = [], []
    for row in rows:
        padded = row + [pad] * (longest - len(row))
        target = torch.tensor(padded[1:])
        ends = torch.nonzero(target == pad).squeeze()
        if ends.numel() > 1:
            target[ends[1:]] = ignore
        inputs.append(torch.tensor(padded[:-1]))
        targets.append(target)
    return torch.stack(inputs), torch.stack(targets)


def row_loop(batch, pad, ignore=-100):
    """The loop a good engineer writes over memory-mapped rows: one slice assignment a row and tensor."""
    rows = [batch[i] for i in range(len(batch))]
    shape = (len(rows), max(map(len, rows)))
    inputs, targets = np.full(shape, pad, np.int64), np.full(shape, ignore, np.int64)
    for i, row in enumerate(rows):
        size = len(row)
        inputs[i, :size] = row
        targets[i, : size - 1] = row[1:]
        targets[i, size - 1] = pad
    return torch.from_numpy(inputs), torch.from_numpy(targets)
