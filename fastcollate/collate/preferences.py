from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fastcollate.arguments import check_choice, check_count
from fastcollate.collate.batch import Batch
from fastcollate.collate.packing import PackingCollator
from fastcollate.collate.padding import PaddingCollator
from fastcollate.collate.reading.inputs import read_rows
from fastcollate.errors import CollateError
from fastcollate.ragged import IntArray, RaggedBatch, Rows

__all__ = ["PreferenceCollator"]


class PreferenceCollator:
    """`PreferenceCollator` makes a batch of preference pairs, whose rows come as chosen, rejected, chosen, ...

    It is called with what a dataset with `groups=True` yields over a store of preference records, or with a list
    of rows that `PaddingCollator` takes, pair by pair. A row's loss is over its answer alone, its spans.

    Args:
        pad_token_id: The token id that padding holds in `input_ids`.
        layout: The shape of the batch: `"padded"` (default) has all chosen rows and then all rejected ones,
            `input_ids`, `attention_mask` and `labels`, int64[B, T], which `chunk(2)` takes apart; `"packed"` has
            one row of them all without padding, as `PackingCollator(layout="flat")`: in `document_ids` pair `i`
            has the segments `2 * i`, chosen, and `2 * i + 1`, rejected.
        ignore_index: The value that `labels` hold at tokens that are no targets; -100 by default.
        supervise: The tokens that are targets: those of the `"response"` (default), or `"all"`.
        pad_to_multiple_of: The number that the width of padded rows is rounded up to a multiple of; 1 by default.

    Raises:
        CollateError: Rows that are no pairs: set `groups=True`, over a store of preference pairs.

    >>> rows = [{"input_ids": [5, 6, answer], "prompt_length": 2} for answer in (7, 8)]
    >>> batch = PreferenceCollator(0)(rows)
    >>> chosen, rejected = batch["labels"].chunk(2)
    >>> chosen, rejected
    (tensor([[-100, -100,    7]]), tensor([[-100, -100,    8]]))
    >>> PreferenceCollator(0, layout="packed")(rows)["document_ids"]
    tensor([[0, 0, 0, 1, 1, 1]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        layout: Literal["padded", "packed"] = "padded",
        ignore_index: int = -100,
        supervise: Literal["response", "all"] = "response",
        pad_to_multiple_of: int = 1,
    ) -> None:
        self.layout = check_choice("layout", layout, ("padded", "packed"), error=CollateError)
        self.ignore_index = check_count("ignore_index", ignore_index, None, error=CollateError)
        self._collator: PaddingCollator | PackingCollator
        if layout == "padded":
            self._collator = PaddingCollator(
                pad_token_id,
                ignore_index=ignore_index,
                supervise=supervise,
                pad_to_multiple_of=pad_to_multiple_of,
            )
            return
        if pad_to_multiple_of != 1:
            raise CollateError('pad_to_multiple_of is for layout="padded": a packed row has no padding')
        self._collator = PackingCollator(
            pad_token_id, layout="flat", ignore_index=ignore_index, supervise=supervise
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(layout={self.layout!r}, {self._collator!r})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        return self._collator.columns | {"group"}

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch:
        """Return the batch of pairs; see the class."""
        batch = (
            rows if isinstance(rows, RaggedBatch) else read_rows(rows, ignore_index=self.ignore_index, packs=False)
        )
        real = np.flatnonzero(batch.record_ids >= 0)
        _check_pairs(batch, real)
        if self.layout == "padded":
            fillers = max(0 if len(real) else 1, (len(batch) - len(real)) // 2)
            real = np.concatenate([_filled(real[0::2], fillers), _filled(real[1::2], fillers)])
        elif not len(real):
            real = np.array([-1])
        built: Any = self._collator(_at(batch, real))
        made: Batch = built
        return made


def _check_pairs(batch: RaggedBatch, real: IntArray) -> None:
    """Refuse rows that do not come in twos of one group."""
    if len(real) % 2:
        raise CollateError(
            f"a batch has {len(real)} rows, which are no pairs: each chosen row is followed by its rejected one; "
            "set groups=True, over a store of preference pairs"
        )
    groups = batch.columns.get("group")
    if groups is None:
        return
    numbers = groups.joined().astype(np.int64)[: len(real)].reshape(-1, 2)
    apart = np.flatnonzero((numbers[:, 0] != numbers[:, 1]) | (numbers[:, 0] < 0))
    if len(apart):
        first, second = batch.record_ids[real[2 * apart[0] : 2 * apart[0] + 2]].tolist()
        raise CollateError(
            f"records {first} and {second} are no pair: their groups are {numbers[apart[0]].tolist()}; set "
            "groups=True, over a store whose groups have two records each"
        )


def _filled(rows: IntArray, count: int) -> IntArray:
    return np.concatenate([rows, np.full(count, -1)])


def _at(batch: RaggedBatch, chosen: IntArray) -> RaggedBatch:
    """The chosen rows of a batch, -1 for a filler row; a column that is for this collator alone is left out."""
    real = chosen >= 0

    def picked(rows: Rows) -> Rows:
        if not len(rows.starts):
            return rows.filled(len(chosen))
        starts, lengths = np.where(real, rows.starts[chosen], 0), np.where(real, rows.lengths[chosen], 0)
        return Rows(rows.values, starts, lengths)

    ids = np.where(real, batch.record_ids[chosen], -1) if len(batch) else chosen
    columns = {name: picked(rows) for name, rows in batch.columns.items() if name != "group"}
    cuts = None if batch.cuts is None or not len(batch) else np.where(real, batch.cuts[chosen], 0)
    width = None if batch.packs is not None else batch.width  # that of a pack, not of a row
    return RaggedBatch(picked(batch.tokens), ids, columns, width, None, cuts)
