"""What `save_to_disk` of Hugging Face's datasets makes: Arrow streams, and two JSON files that describe them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.errors import LimitError
from fastcollate.ragged import IntArray, RaggedBatch, inside_spans, offsets_of
from fastcollate.storage.local import make_durable, replacing, write_whole
from fastcollate.store.reader import TokenStore

__all__ = ["write_hugging_face"]

_FILE_BYTES = 500_000_000  # of an Arrow file, as `save_to_disk` cuts them
_MOST = 2**31


def write_hugging_face(store: TokenStore, folder: Path, parts: Iterable[IntArray]) -> None:
    """Write the files of a data set into a folder: `input_ids`, and `labels` where the store says what is learnt.

    Raises:
        LimitError: The vocabulary has more ids than int32.
        StorageError: The disk failed.
    """
    if store.manifest.encoding.n_vocab > _MOST:
        raise LimitError(f"{store.path} has {store.manifest.encoding.n_vocab} ids: those of a data set are int32")
    columns = [name for name in ("labels", "spans") if name in store.columns][:1]
    names = ["input_ids", *(["labels"] if columns else [])]
    schema = pa.schema([(name, pa.list_(pa.int32())) for name in names])
    # datasets from 2 on read "Sequence"; "List" is what those from 4 on write
    features = {name: {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"} for name in names}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    drafts, number = list[Path](), iter(parts)
    part = next(number, None)
    while part is not None:
        drafts.append(folder / f"draft-{len(drafts):05d}")
        with replacing(drafts[-1], durable=False) as file, pa.ipc.new_stream(file, schema) as stream:
            written = 0
            while part is not None and written < _FILE_BYTES:
                batch = store.at_epoch(0, 0).gather(part, columns)
                arrays = [_listed(values, batch.lengths) for values in _columns(batch, columns)]
                stream.write_batch(pa.record_batch(arrays, schema=schema))
                written += sum(array.nbytes for array in arrays)
                part = next(number, None)
        make_durable(drafts[-1])
    files = [f"data-{place:05d}-of-{len(drafts):05d}.arrow" for place in range(len(drafts))]
    for draft, name in zip(drafts, files, strict=True):
        draft.rename(folder / name)
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    write_whole(folder / "dataset_info.json", json.dumps(info, indent=2).encode())
    write_whole(folder / "state.json", json.dumps(_state(files, store.fingerprint), indent=2).encode())


def _state(files: list[str], fingerprint: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("_format_columns", "_format_type", "_split"))
    listed = [{"filename": name} for name in files]
    return {
        "_data_files": listed,
        "_fingerprint": fingerprint[:16],
        "_format_kwargs": {},
        "_output_all_columns": False,
        **nothing,
    }


def _columns(batch: RaggedBatch, columns: list[str]) -> list[NDArray[np.int32]]:
    """Return the tokens of all rows side by side, and their labels if there are any: int32[V] each."""
    tokens = batch.tokens.joined().astype(np.int32)
    if not columns:
        return [tokens]
    beside = batch.columns[columns[0]]
    if columns[0] == "labels":
        return [tokens, beside.joined().astype(np.int32)]
    inside = inside_spans(beside.joined(), beside.lengths, offsets_of(batch.lengths))
    return [tokens, np.where(inside, tokens, np.int32(NO_TARGET))]


def _listed(values: NDArray[np.int32], lengths: IntArray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets_of(lengths).astype(np.int32)), pa.array(values))
