"""From whatever a `collate_fn` is handed to one flat array."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Ragged, RaggedBatch, Rows

__all__ = ["check_choice", "check_integer", "flatten_rows", "spans_of"]


def flatten_rows(rows: RaggedBatch | Sequence[Any]) -> RaggedBatch:
    """Lists, arrays, tensors or dicts as one batch; a `RaggedBatch` is taken as it is.

    Raises:
        CollateError: an empty batch or row, a row that is not flat integers, dicts without `input_ids` or
            of which only some have labels or spans. The row's number is named.
    """
    if isinstance(rows, RaggedBatch):
        batch = rows
    else:
        if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
            raise CollateError(f"the batch is a {type(rows).__name__}: give a list of rows")
        batch = _flatten(list(rows))
    if len(batch) == 0 and batch.packs is None:  # a pack may be empty: a filler row
        raise CollateError("the batch is empty: a batch needs at least one row; check the sampler or drop_last")
    if np.count_nonzero(batch.lengths) < len(batch):
        empty = (batch.lengths == 0) & (batch.record_ids >= 0)
        if empty.any():
            raise CollateError(f"row {int(empty.argmax())} is empty: a row needs at least one token; leave it out")
    return batch


def check_integer(name: str, value: Any, least: int | None = None) -> int:
    """An argument as a Python int, or an error that names it."""
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or abs(number) >= 2**62 or (least is not None and number < least):
        rule = "an integer" if least is None else f"an integer, at least {least}"
        raise CollateError(f"{name} is {value!r}: it must be {rule}")
    return number


def spans_of(batch: RaggedBatch) -> Rows:
    """The supervised spans of a batch, one row of flat (start, stop) pairs for each row.

    Raises:
        CollateError: its rows do not know theirs.
    """
    if batch.spans is None:
        raise CollateError(
            'supervise="response" needs rows that know their response: a store prepared with a template, or dicts '
            "with 'prompt_length' or 'spans'"
        )
    return batch.spans


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an argument that is none of its choices."""
    if value not in choices:
        raise CollateError(f"{name} is {value!r}: it must be one of {', '.join(map(repr, choices))}")


def _flatten(rows: list[Any]) -> RaggedBatch:
    dicts = [row for row in rows if isinstance(row, Mapping)]
    if not dicts:
        return RaggedBatch(_side_by_side(rows, "row"), np.arange(len(rows)))
    if len(dicts) < len(rows):
        raise CollateError("the batch mixes dicts with plain rows: give all rows in one form")
    tokens = _side_by_side(_column(dicts, "input_ids"), "input_ids of row")
    columns = {}
    if _present(dicts, "labels"):
        labels = _side_by_side(_column(dicts, "labels"), "labels of row")
        wrong = np.flatnonzero(labels.lengths != tokens.lengths)
        if len(wrong):
            i = int(wrong[0])
            raise CollateError(
                f"row {i} has {tokens.lengths[i]} input_ids and {labels.lengths[i]} labels: one label a token"
            )
        columns["labels"] = labels
    spans = _dict_spans(dicts, tokens)
    if spans is not None:
        columns["spans"] = spans
    return RaggedBatch(tokens, np.arange(len(rows)), columns)


def _dict_spans(dicts: list[Mapping[str, Any]], tokens: Rows) -> Rows | None:
    if _present(dicts, "spans"):
        pairs = [_flat_pairs(i, row["spans"]) for i, row in enumerate(dicts)]
    elif _present(dicts, "prompt_length"):
        prompts = [
            check_integer(f"prompt_length of row {i}", row["prompt_length"], 0) for i, row in enumerate(dicts)
        ]
        pairs = [np.array([min(p, n), n]) for p, n in zip(prompts, tokens.lengths.tolist(), strict=True)]
    else:
        return None
    for i, (pair, length) in enumerate(zip(pairs, tokens.lengths.tolist(), strict=True)):
        if len(pair) % 2 or (len(pair) and (pair[0] < 0 or pair[-1] > length or (np.diff(pair) < 0).any())):
            raise CollateError(
                f"row {i} has spans {pair.tolist()}: they are (start, stop) pairs that rise from 0 to its "
                f"{length} tokens"
            )
    return Rows.of(Ragged.from_rows(pairs))


def _flat_pairs(row: int, spans: Any) -> IntArray:
    try:
        pairs = np.asarray(spans)
    except ValueError:
        pairs = np.array("ragged")
    if pairs.size and pairs.dtype.kind not in "iu":
        raise CollateError(f"row {row} has spans {spans!r:.40}: they are (start, stop) pairs of integers")
    return pairs.astype(np.int64).reshape(-1)


def _present(dicts: list[Mapping[str, Any]], key: str) -> bool:
    """Whether the rows have `key`; all or none must."""
    count = sum(key in row for row in dicts)
    if 0 < count < len(dicts):
        missing = next(i for i, row in enumerate(dicts) if key not in row)
        raise CollateError(f"row {missing} has no {key!r} while others do: give it for every row or for none")
    return count > 0


def _column(dicts: list[Mapping[str, Any]], key: str) -> list[Any]:
    if not _present(dicts, key):
        raise CollateError(f"rows are dicts without {key!r}: that is where their tokens belong")
    return [row[key] for row in dicts]


def _side_by_side(rows: list[Any], what: str) -> Rows:
    """Rows copied into one int64 array, followed by one row's worth of zeros (the kernels read windows)."""
    flat = array("q")
    ends = []
    for i, row in enumerate(rows):
        try:
            _append(flat, row)
        except (TypeError, ValueError, OverflowError):
            raise CollateError(f"{what} {i} is {_describe(row)}: rows are flat sequences of integers") from None
        ends.append(len(flat))
    stops = np.array(ends, np.int64)
    lengths = np.diff(stops, prepend=0)
    flat.frombytes(bytes(8 * (int(lengths.max(initial=0)) + 1)))
    values = np.frombuffer(flat, np.int64)
    return Rows(values, stops - lengths, lengths)


def _append(flat: array[int], row: Any) -> None:
    if isinstance(row, list):
        flat.fromlist(row)  # checks each item, and takes nothing if one is no integer
    elif isinstance(row, (np.ndarray, torch.Tensor)):
        values = _on_host(row) if isinstance(row, torch.Tensor) else row
        if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
            raise TypeError
        if values.dtype == np.uint64 and values.size and int(values.max()) >= 2**63:
            raise OverflowError
        flat.frombytes(np.ascontiguousarray(values, np.int64).data.cast("B"))
    elif isinstance(row, Iterable) and not isinstance(row, (str, bytes, Mapping)):
        flat.fromlist(list(row))
    else:
        raise TypeError


def _on_host(row: torch.Tensor) -> NDArray[Any]:
    if row.is_meta:
        raise TypeError
    return row.detach().cpu().numpy()


def _describe(row: Any) -> str:
    if isinstance(row, (np.ndarray, torch.Tensor)):
        return f"{row.dtype} of shape {tuple(row.shape)}"
    if isinstance(row, (list, tuple)):
        odd = next((item for item in row if not isinstance(item, int)), None)
        return f"a {type(row).__name__} with {odd!r:.40}"
    return f"a {type(row).__name__}"
