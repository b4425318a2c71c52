"""Rows in a memory-mapped array, and the padding people write for them: what several peers are made of."""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset


def write_rows(store, directory):
    """Two arrays, `values` (of the store's dtype) and `offsets`."""
    rows = store.take(np.arange(len(store)))
    Path(directory).mkdir(parents=True)
    np.save(Path(directory) / "values.npy", rows.values)
    np.save(Path(directory) / "offsets.npy", rows.offsets)


def copy_store(store, directory):
    """The store's own files."""
    shutil.copytree(store.path, directory)


class MappedRows(Dataset):
    """Row `i` as an int64 tensor."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.values = map_array(self.directory / "values.npy")
        self.offsets = map_array(self.directory / "offsets.npy")

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, index):
        return as_tensor(self.values[self.offsets[index] : self.offsets[index + 1]])

    def __reduce__(self):
        """Map the files again in another process, rather than carry them there."""
        return MappedRows, (self.directory,)


def map_array(path):
    """A mapped array without the `memmap` subclass, which makes every slice several times as slow."""
    return np.load(path, mmap_mode="r").view(np.ndarray)


def as_tensor(row):
    """int64[T]."""
    return torch.from_numpy(np.asarray(row).astype(np.int64))


def pad_rows(rows, *, pad_token_id):
    """A padded batch of int64 tensors, by `torch.nn.utils.rnn.pad_sequence`."""
    input_ids = pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    return {
        "input_ids": input_ids,
        "labels": pad_sequence(rows, batch_first=True, padding_value=-100),
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
    }


def shuffled_batches(count, *, batch_size, seed):
    """The record numbers of each batch of a shuffled epoch, a list of int64[B]."""
    order = np.random.default_rng(seed).permutation(count)
    return np.split(order, range(batch_size, count, batch_size))
