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
    """The loop a good engineer writes over memory-mapped rows: one slice assignment a row."""
    rows = [batch[i] for i in range(len(batch))]
    lengths = np.array([len(row) for row in rows])
    width = int(lengths.max())
    padded = np.full((len(rows), width + 1), pad, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    inputs, targets = padded[:, :-1].copy(), padded[:, 1:].copy()
    targets[np.arange(width) >= lengths[:, None]] = ignore
    return torch.from_numpy(inputs), torch.from_numpy(targets)
