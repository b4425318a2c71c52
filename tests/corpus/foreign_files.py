"""Writers of foreign token files, each from the description of its format."""

import csv
import gzip

import numpy as np

from fastcollate.corpus.formats.megatron import CODES, HEADER, MAGIC

DTYPE_CODES = {name: code for code, name in CODES.items()}


def write_megatron(stem, rows, *, dtype="uint16", order=None, sequences=1):
    """A pair of `.bin` and `.idx`; with `order`, the rows lie in the `.bin` in that order.

    `sequences` rows in a row are one document.
    """
    lying = [rows[place] for place in (range(len(rows)) if order is None else order)]
    places = np.cumsum([0, *map(len, lying)])[:-1] * np.dtype(dtype).itemsize
    if order is not None:
        places = places[np.argsort(order)]
    borders = np.append(np.arange(0, len(rows), sequences), len(rows))
    stem.with_name(stem.name + ".bin").write_bytes(b"".join(np.asarray(row, dtype).tobytes() for row in lying))
    head = HEADER.pack(MAGIC, 1, DTYPE_CODES[dtype], len(rows), len(borders))
    index = [np.array([len(row) for row in rows], np.int32), places.astype(np.int64), borders.astype(np.int64)]
    stem.with_name(stem.name + ".idx").write_bytes(head + b"".join(array.tobytes() for array in index))
    return stem


def write_datatrove(path, rows, *, dtype="uint16", loss=None, metadata=None):
    """`.ds` and `.ds.index`, a mask of the loss where rows of it are given, metadata where they are."""
    path.write_bytes(np.concatenate(rows).astype(dtype).tobytes())
    ends = np.cumsum([len(row) for row in rows]).astype(np.uint64)
    path.with_name(path.name + ".index").write_bytes(ends.tobytes())
    if loss is not None:
        path.with_name(path.name + ".loss").write_bytes(np.concatenate(loss).astype(bool).tobytes())
    if metadata is not None:
        path.with_name(path.name + ".metadata").write_text(metadata)
    return path


def write_llm_c(path, tokens, *, magic=20240520, version=1, dtype="uint16", count=None):
    """A shard with its header."""
    header = np.zeros(256, np.int32)
    header[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(tokens, dtype).tobytes())
    return path


def write_olmo(path, rows, *, dtype="uint16", gap=0):
    """Bare `.npy` and `.csv.gz`; `gap` tokens between documents belong to none."""
    between = [9] * gap
    path.write_bytes(np.concatenate([np.append(row, between) for row in rows]).astype(dtype).tobytes())
    start = 0
    with gzip.open(path.with_suffix(".csv.gz"), "wt", newline="") as file:
        lines = csv.writer(file)
        for number, row in enumerate(rows):
            lines.writerow([start, start + len(row), f'id "{number}"', "s3://a/b,c.json\nd", number])
            start += len(row) + gap
    return path
