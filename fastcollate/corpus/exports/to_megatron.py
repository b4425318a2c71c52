"""Megatron's `.bin` and `.idx`, as its own writer makes them; `corpus.formats.megatron` says what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fastcollate.corpus.formats.megatron import CODES, HEADER, MAGIC
from fastcollate.errors import LimitError
from fastcollate.ragged import IntArray, offsets_of
from fastcollate.storage.local import replacing
from fastcollate.store.reader import TokenStore

__all__ = ["write_megatron"]

_SMALL = 65_500  # ids, below which Megatron writes uint16, and int32 from there on
_LONGEST = 2**31 - 1
_CODES = {name: code for code, name in CODES.items()}


def write_megatron(store: TokenStore, folder: Path, parts: Iterable[IntArray]) -> None:
    """Write `text_document.bin` and `.idx` into a folder.

    Raises:
        LimitError: The vocabulary has more ids than int32, or a record more tokens.
        StorageError: The disk failed.
    """
    size, lengths = store.manifest.encoding.n_vocab, store.lengths
    if size > _LONGEST or int(lengths.max(initial=0)) > _LONGEST:
        raise LimitError(
            f"{store.path} has a vocabulary of {size} ids and records of up to {lengths.max(initial=0)} tokens: "
            f"Megatron's files have room for {_LONGEST} of each"
        )
    kind = np.dtype(np.uint16 if size < _SMALL else np.int32)
    with replacing(folder / "text_document.bin") as tokens:
        for part in parts:
            tokens.write(store.take(part).values.astype(kind).data)
    places = offsets_of(lengths)[:-1] * kind.itemsize
    with replacing(folder / "text_document.idx") as index:
        index.write(HEADER.pack(MAGIC, 1, _CODES[kind.name], len(lengths), len(lengths) + 1))
        for array in (lengths.astype(np.int32), places, np.arange(len(lengths) + 1)):
            index.write(array.data)
