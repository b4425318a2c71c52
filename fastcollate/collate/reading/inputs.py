"""From whatever a `collate_fn` is handed to one batch, or a parcel, of flat arrays."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastcollate.arguments import check_count
from fastcollate.collate.reading.row_columns import IGNORED, MASKS, PER_TOKEN, check_labels, settle
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, Packs, Parcel, Ragged, RaggedBatch, Rows

__all__ = ["read_parcel", "read_rows"]

_KNOWN = (*PER_TOKEN, "seq_lengths", "spans", "prompt_length", "weights")
_SETTLED = frozenset({"spans"})  # the columns that mean what they say


def read_parcel(
    rows: Parcel | RaggedBatch | Sequence[Any], *, ignore_index: int | None, packs: bool, weighted: bool = False
) -> Parcel:
    """Return what `read_rows` does as a parcel of one batch; a parcel as it is, with its columns applied."""
    if not isinstance(rows, Parcel):
        return Parcel.of(read_rows(rows, ignore_index=ignore_index, packs=packs, weighted=weighted))
    _check(rows.tokens.lengths, rows.record_ids, rows.packs, allowed=packs)
    settled = _SETTLED if ignore_index != IGNORED else _SETTLED | {"labels"}
    settled = settled | {"weights"} if weighted and "spans" in rows.columns else settled
    return rows if rows.columns.keys() <= settled else _settled_parcel(rows, ignore_index, weighted=weighted)


def read_rows(
    rows: RaggedBatch | Sequence[Any], *, ignore_index: int | None, packs: bool, weighted: bool = False
) -> RaggedBatch:
    """Return lists, arrays, tensors or dicts as one batch; a `RaggedBatch` is taken as it is.

    Of the columns of the batch returned, `spans` with their `weights`, and `labels`, say all there is to say.

    Args:
        rows: What the collator was called with.
        ignore_index: What labels hold where there is no target; None if they cannot mark it.
        packs: Whether a row may hold several documents: the batch returned is then one of packs.
        weighted: Whether spans may weigh otherwise than 1, which is refused by default.

    Raises:
        CollateError: An empty batch or row, a row that is not flat integers, dicts without `input_ids`, or a
            column that only some rows have, that contradicts the row or that cannot be honoured. The row's
            number is named.
    """
    batch = rows if isinstance(rows, RaggedBatch) else _read(rows, ignore_index)
    _check(batch.tokens.lengths, batch.record_ids, batch.packs, allowed=packs)
    if batch.columns and not batch.columns.keys() <= _SETTLED:
        return settle(batch, ignore_index=ignore_index, packs=packs, weighted=weighted)
    return batch


def _check(lengths: IntArray, record_ids: IntArray, packs: Packs | None, *, allowed: bool) -> None:
    if len(lengths) == 0 and packs is None:  # a pack may be empty: a filler row
        raise CollateError("the batch is empty: a batch needs at least one row; check the sampler or drop_last")
    if np.count_nonzero(lengths) < len(lengths):
        empty = (lengths == 0) & (record_ids >= 0)
        if empty.any():
            raise CollateError(f"row {int(empty.argmax())} is empty: a row needs at least one token; leave it out")
    if packs is not None and not allowed:
        raise CollateError("the batch is packs of documents: collate it with a PackingCollator")


def _settled_parcel(parcel: Parcel, ignore_index: int | None, *, weighted: bool) -> Parcel:
    """The parcel with its columns applied, as if all its rows were those of one batch."""
    columns = {name: column.rows() for name, column in parcel.columns.items()}
    whole = RaggedBatch(parcel.tokens.rows(), parcel.record_ids, columns, packs=parcel.packs, cuts=parcel.cuts)
    return parcel.with_rows(settle(whole, ignore_index=ignore_index, packs=False, weighted=weighted))


def _read(rows: Any, ignore_index: int | None) -> RaggedBatch:
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise CollateError(f"the batch is a {type(rows).__name__}: give a list of rows")
    try:
        rows = list(rows)
    except TypeError:
        raise CollateError(f"the batch is {_describe(rows)}, one value: give a list of rows") from None
    kinds = set(map(type, rows))
    if any(issubclass(kind, RaggedBatch) for kind in kinds):
        raise CollateError(
            "the batch is a list that holds a RaggedBatch, which is a batch by itself: "
            "use DataLoader(dataset, batch_size=None, collate_fn=...); with Trainer of transformers: "
            "class MyTrainer(fastcollate.trainers.hugging_face.StreamMixin, Trainer)"
        )
    dicts = [issubclass(kind, Mapping) for kind in kinds]
    if any(dicts):
        if not all(dicts):
            raise CollateError("the batch mixes dicts with plain rows: give all rows in one form")
        return _read_dicts(rows, ignore_index)
    return RaggedBatch(_tokens(rows, "row"), np.arange(len(rows)))


def _read_dicts(rows: list[Mapping[str, Any]], ignore_index: int | None) -> RaggedBatch:
    counts = Counter(chain.from_iterable(rows))
    if not counts["input_ids"]:
        raise CollateError("rows are dicts without 'input_ids': that is where their tokens belong")
    for name in ("input_ids", *_KNOWN):
        if 0 < counts[name] < len(rows):
            missing = next(i for i, row in enumerate(rows) if name not in row)
            raise CollateError(f"row {missing} has no {name!r} while others do: give it for every row or for none")
    tokens = _tokens([row["input_ids"] for row in rows], "input_ids of row")
    columns = {}
    for name in PER_TOKEN:
        if counts[name]:
            kinds = "iub" if name in MASKS else "iu"
            columns[name] = _side_by_side([row[name] for row in rows], f"{name} of row", kinds)
    if "labels" in columns:
        check_labels(columns["labels"], ignore_index)
    if counts["seq_lengths"]:
        given = [row["seq_lengths"] for row in rows]
        listed = [[length] if isinstance(length, int | np.integer) else length for length in given]
        columns["seq_lengths"] = _side_by_side(listed, "seq_lengths of row")
    if counts["weights"]:
        _refuse_weights([row["weights"] for row in rows])
    spans = _spans(rows, tokens.lengths.tolist(), given=counts["spans"] > 0, prompted=counts["prompt_length"] > 0)
    if spans is not None:
        columns["spans"] = spans
    return RaggedBatch(tokens, np.arange(len(rows)), columns)


def _spans(rows: list[Mapping[str, Any]], lengths: list[int], *, given: bool, prompted: bool) -> Rows | None:
    """The supervised parts of each row: its `spans`, or what follows its prompt."""
    pairs = []
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        response = _after_prompt(i, row["prompt_length"], length) if prompted else [0, length]
        pair = _pairs(i, row["spans"], length) if given else response
        if given and pair and pair[0] < response[0]:
            raise CollateError(
                f"row {i} has spans {pair} and a prompt_length of {response[0]}: spans lie behind the prompt; "
                "leave out one of the two"
            )
        pairs.append(pair)
    return Rows.of(Ragged.from_rows(pairs)) if given or prompted else None


def _after_prompt(i: int, prompt_length: Any, length: int) -> list[int]:
    prompt = check_count(f"prompt_length of row {i}", prompt_length, error=CollateError)
    if prompt > length:
        raise CollateError(
            f"prompt_length of row {i} is {prompt}: the row has {length} tokens, and a prompt is a part of its row"
        )
    return [prompt, length]


def _pairs(i: int, spans: Any, length: int) -> list[int]:
    try:
        pairs = _on_host(spans) if isinstance(spans, torch.Tensor) else np.asarray(spans)
    except (ValueError, TypeError):
        pairs = np.array("ragged")
    if pairs.size and pairs.dtype.kind not in "iu":
        raise CollateError(f"row {i} has spans {spans!r:.40}: they are (start, stop) pairs of integers")
    pair: list[int] = pairs.reshape(-1).tolist()
    if len(pair) % 2 or (pair and (pair[0] < 0 or pair[-1] > length or pair != sorted(pair))):
        raise CollateError(
            f"row {i} has spans {pair}: they are (start, stop) pairs that rise from 0 to its {length} tokens"
        )
    return pair


def _refuse_weights(rows: list[Any]) -> None:
    for i, row in enumerate(rows):
        weights = row.detach().cpu().tolist() if isinstance(row, torch.Tensor) else row
        if not np.all(np.asarray(weights, object) == 1):
            raise CollateError(
                f"row {i} has weights other than 1: labels cannot hold them; leave out 'weights', or give a "
                "'loss_mask' of 0 and 1"
            )


def _tokens(rows: list[Any], what: str) -> Rows:
    """Token ids, none of which is negative."""
    tokens = _side_by_side(rows, what)
    if np.minimum.reduce(tokens.values) < 0:
        place = int(np.flatnonzero(tokens.values < 0)[0])
        row = int(np.searchsorted(tokens.starts + tokens.lengths, place, side="right"))
        raise CollateError(
            f"{what} {row} holds {tokens.values[place]}: a token id is 0 or more; padding is the collator's work, "
            "and what the loss ignores belongs in labels"
        )
    return tokens


def _side_by_side(rows: list[Any], what: str, kinds: str = "iu") -> Rows:
    """Rows copied into one int64 array, followed by one row's worth of zeros (the kernels read windows)."""
    flat = array("q")
    starts, lengths = [], []
    for i, row in enumerate(rows):
        start = len(flat)
        try:
            _append(flat, row, kinds)
        except (TypeError, ValueError, OverflowError):
            raise CollateError(f"{what} {i} is {_describe(row)}: rows are flat sequences of integers") from None
        starts.append(start)
        lengths.append(len(flat) - start)
    flat.frombytes(bytes(8 * (max(lengths, default=0) + 1)))
    return Rows(np.frombuffer(flat, np.int64), np.array(starts, np.int64), np.array(lengths, np.int64))


def _append(flat: array[int], row: Any, kinds: str) -> None:
    if isinstance(row, list):
        flat.fromlist(row)  # checks each item, and takes nothing if one is no integer
    elif isinstance(row, (np.ndarray, torch.Tensor)):
        values = _on_host(row) if isinstance(row, torch.Tensor) else row
        if values.ndim != 1 or (values.size and values.dtype.kind not in kinds):
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
