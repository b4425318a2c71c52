"""Megatron's .bin and .idx, read in place."""

import numpy as np
from foreign import assert_is_a_corpus, documents, store_of

from fastcollate import open_corpus
from fastcollate.corpus.formats.megatron import CODES, HEADER, MAGIC


def write_pair(stem, rows, *, dtype="uint16", order=None):
    """A pair as Megatron's own writer makes it; with `order`, the rows lie in the `.bin` in that order."""
    code = {name: code for code, name in CODES.items()}[dtype]
    lying = [rows[place] for place in (range(len(rows)) if order is None else order)]
    lengths = [len(row) for row in lying]
    places = np.cumsum([0, *lengths])[:-1] * np.dtype(dtype).itemsize
    if order is not None:
        places = places[np.argsort(order)]
    stem.with_suffix(".bin").write_bytes(b"".join(np.asarray(row, dtype).tobytes() for row in lying))
    sizes = np.array([len(row) for row in rows], np.int32)
    head = HEADER.pack(MAGIC, 1, code, len(rows), len(rows) + 1)
    borders = np.arange(len(rows) + 1, dtype=np.int64)
    stem.with_suffix(".idx").write_bytes(head + sizes.tobytes() + places.tobytes() + borders.tobytes())
    return stem


def test_it_gives_the_batches_of_a_store(tmp_path):
    rows = documents()
    corpus = open_corpus(write_pair(tmp_path / "train", rows), eot_token_id=256)
    assert corpus.eot_token_id == 256
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))
