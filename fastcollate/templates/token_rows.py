"""Records that are tokens already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcollate.errors import InputError
from fastcollate.templates.segments import TokenDocument
from fastcollate.templates.wording import having, short

__all__ = ["TokensTemplate"]

_MASKS = ("loss_mask", "completion_mask", "assistant_masks")


@dataclass(frozen=True, slots=True)
class TokensTemplate:
    """`TokensTemplate` takes rows that are tokens: `input_ids`, and `labels`, a mask or neither.

    A token is a target where its label is not -100 or its mask (`loss_mask`, `completion_mask`, `assistant_masks`)
    is 1; all are where there is neither. Where `attention_mask` is 0 is padding, which is left out.

    >>> (document,) = TokensTemplate().documents({"input_ids": [5, 6, 7], "labels": [-100, 6, 7]})
    >>> document.input_ids, document.weights
    (array([5, 6, 7], dtype=uint32), array([0., 1., 1.], dtype=float32))
    """

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return "tokens"

    @property
    def fingerprint(self) -> str:
        """64 hex digits, always the same."""
        return hashlib.sha256(b"tokens").hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        return frozenset({"input_ids", "labels", "attention_mask", *_MASKS})

    def documents(self, record: Mapping[str, Any]) -> list[TokenDocument]:
        """Return the tokens of one record.

        Raises:
            InputError: A column is no list of integers or as long as no other, or a label is another token than
                its own (`bad_tokens`); there are no `input_ids` (`missing_field`).
        """
        if record.get("input_ids") is None:
            raise InputError(f'field "input_ids" is missing ({having(record)})', reason="missing_field")
        ids = _integers(record, "input_ids")
        if ids is None or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < 2**32):
            raise InputError(
                '"input_ids" has a number that is no token: ids are from 0 to 2**32 - 1', reason="bad_tokens"
            )
        columns = {key: _integers(record, key) for key in ("labels", "attention_mask", *_MASKS)}
        weights = np.ones(len(ids), np.float32)
        for key, column in columns.items():
            if column is None:
                continue
            if len(column) != len(ids):
                raise InputError(
                    f'"{key}" has {len(column)} entries and "input_ids" {len(ids)}: they must be as many',
                    reason="bad_tokens",
                )
            if key == "labels":
                _check_labels(ids, column)
            elif not np.isin(column, (0, 1)).all():
                raise InputError(f'"{key}" has other numbers than 0 and 1', reason="bad_tokens")
            if key != "attention_mask":
                weights *= column != -100 if key == "labels" else column
        mask = columns["attention_mask"]
        kept = slice(None) if mask is None else mask != 0
        return [TokenDocument(ids[kept].astype(np.uint32), weights[kept])]


def _integers(record: Mapping[str, Any], key: str) -> NDArray[np.int64] | None:
    value = record.get(key)
    if value is None:
        return None
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        found = None
    if (
        found is None
        or found.ndim != 1
        or (found.dtype.kind not in "iub" and len(found))
        or isinstance(value, str)
    ):
        raise InputError(f'"{key}" is {short(value)}: it must be a list of integers', reason="bad_tokens")
    return found.astype(np.int64)


def _check_labels(ids: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    other = np.flatnonzero((labels != -100) & (labels != ids))
    if len(other):
        at = int(other[0])
        raise InputError(
            f'"labels" has {labels[at]} at {at}, where "input_ids" has {ids[at]}: labels are -100 or the token '
            "itself, at its own place (a model shifts by itself)",
            reason="bad_tokens",
        )
