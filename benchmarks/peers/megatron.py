"""Megatron-LM's `.bin` and `.idx`: sizes and pointers beside one flat file, and a shuffled index an epoch."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from benchmarks.harness.mapped_rows import as_tensor, pad_rows, shuffled_batches

# Megatron-LM, megatron/core/datasets/readme.md: "IndexedDataset"; the sampler starts at `consumed_samples`.
TITLE = "Megatron-style .bin/.idx"
REQUIRES = ()
RESUME = "state"
NOTES = "the format and the index, rewritten here: one sequence a document, padded instead of concatenated"

HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype, sequences, entries of the document index
DTYPES = {4: np.int32, 8: np.uint16}


def write(store, directory):
    rows = store.take(np.arange(len(store)))
    code = 8 if rows.values.dtype == np.uint16 else 4
    values = rows.values.astype(DTYPES[code])
    Path(directory).mkdir(parents=True)
    values.tofile(Path(directory) / "rows.bin")
    with (Path(directory) / "rows.idx").open("wb") as file:
        file.write(HEADER.pack(b"MMIDIDX\0\0", 1, code, len(rows), len(rows) + 1))
        rows.lengths.astype(np.int32).tofile(file)
        (rows.offsets[:-1] * values.itemsize).tofile(file)
        np.arange(len(rows) + 1).tofile(file)


class IndexedRows:
    """Row `i` as an int64 tensor, found through the index."""

    def __init__(self, directory):
        index = np.memmap(Path(directory) / "rows.idx", mode="r")
        _, _, code, count, _ = HEADER.unpack(index[: HEADER.size])
        self.bin = np.memmap(Path(directory) / "rows.bin", mode="r")
        self.dtype = np.dtype(DTYPES[code])
        self.sizes = np.frombuffer(index, np.int32, count, HEADER.size)
        self.pointers = np.frombuffer(index, np.int64, count, HEADER.size + self.sizes.nbytes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return as_tensor(np.frombuffer(self.bin, self.dtype, self.sizes[index], self.pointers[index]))


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    rows = IndexedRows(directory)
    batches = shuffled_batches(len(rows), batch_size=batch_size, seed=seed)
    return DataLoader(
        rows,
        batch_sampler=batches[start // batch_size :],
        collate_fn=partial(pad_rows, pad_token_id=pad_token_id),
        num_workers=num_workers,
    )


def checkpoint(directory, *, batches, batch_size, **arguments):  # noqa: ARG001  # of the protocol
    return batches * batch_size  # Megatron's consumed_train_samples
