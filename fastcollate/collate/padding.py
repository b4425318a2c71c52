from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, get_args

from fastcollate.arguments import check_choices, check_count, check_counts, check_flags
from fastcollate.collate.batch import with_steps
from fastcollate.collate.device_kernels import RowsBuild
from fastcollate.collate.kernels import fill_batches, join_sequences
from fastcollate.collate.one_batch import PlainRows
from fastcollate.collate.reading.inputs import read_parcel, read_rows
from fastcollate.collate.row_layout import PaddingSide, RowLayout, Truncation, lay_out
from fastcollate.collate.runs import Learnt, Runs, runs_of_rows, sums_of, travelling, wanted_cells
from fastcollate.collate.staged import Allocator, Built, Sources, Staged, new_arrays, stage_arrays
from fastcollate.collate.views import FilledRows, Flat
from fastcollate.errors import CollateError
from fastcollate.ragged import Counted, IntArray, Parcel, RaggedBatch

__all__ = ["PaddingCollator"]


class PaddingCollator:
    """`PaddingCollator` makes rows of different lengths into one padded, masked batch.

    It is called with a list of rows (lists, arrays, tensors, or dicts with `input_ids`) or with a `RaggedBatch`,
    and returns a `Batch` with `input_ids`, `attention_mask` and `labels`, int64[B, T] each. Lengths decide what
    is padding, never a token's value.

    Rows that are dicts may say more, and all of it is honoured or refused by name: `labels` (-100: no target);
    `prompt_length` or `spans`, the supervised part; `completion_mask`, `assistant_masks` and `loss_mask`, 0 where
    a token is no target; `attention_mask`, 0 where the row is padded already; `position_ids` and `seq_lengths`,
    of one document only; `weights`, all 1. Other keys are ignored. Where a corpus has weights of spans, the batch
    has `loss_weights` with `supervise="response"`, float32[B, T], by which you multiply the losses: no model does.

    A filler row is all padding: its attention mask is zero and its labels are ignored. A batch of nothing but
    filler rows has `num_supervised` 0, and the mean of `cross_entropy` over its targets is NaN: sum the losses
    and divide by the `num_supervised` of the whole step, or skip such a batch.

    Args:
        pad_token_id: The token id that padding holds in `input_ids`.
        ignore_index: The value that `labels` hold at padding and at tokens that are no targets, -100 by default;
            None leaves the pad id at padding, and allows no other way to mark a token.
        end_token_id: The token id appended to each row, for rows stored without one; by default none is.
        max_length: The most columns of a batch; by default rows are never cut.
        truncation: Which tokens of a row longer than `max_length` are lost: those at the `"right"` (default) or
            at the `"left"`, those before the last token (`"keep_end"`), or none: `"error"` refuses the row.
        padding_side: The side on which padding lies, `"right"` (default) or `"left"`.
        pad_to_multiple_of: The number that the width is rounded up to a multiple of, after `max_length`;
            1 by default.
        shift_labels: Whether `labels` are the next tokens; by default they are aligned with `input_ids`, and the
            model shifts.
        supervise: The tokens that are targets: `"all"` (default), or those of the `"response"` alone, which
            are the rows' spans and every appended end token.
        labels: Whether the batch has labels; True by default.
        as_tuple: Whether `(input_ids, labels)` is returned instead of a `Batch`; False by default.

    Raises:
        CollateError: Arguments or rows that make no batch; the argument or the row is named.

    >>> batch = PaddingCollator(0)([[5, 6, 7], [8]])
    >>> batch["labels"]
    tensor([[   5,    6,    7],
            [   8, -100, -100]])
    >>> batch["input_ids"].dtype, batch.num_tokens, batch.num_supervised
    (torch.int64, 4, 2)

    Of a row too long, `truncation` says what stays:

    >>> for truncation in ("right", "left", "keep_end"):
    ...     print(PaddingCollator(0, max_length=3, truncation=truncation)([[5, 6, 7, 8]])["input_ids"])
    tensor([[5, 6, 7]])
    tensor([[6, 7, 8]])
    tensor([[5, 6, 8]])
    >>> PaddingCollator(0, max_length=3, truncation="error")([[5, 6, 7, 8]])
    Traceback (most recent call last):
    fastcollate.errors.CollateError: row 0 has 4 tokens, more than the 3 that max_length leaves room for:
    choose a truncation or a longer max_length

    Of a row that knows its prompt, `supervise` says what is learned:

    >>> for supervise in ("all", "response"):
    ...     PaddingCollator(0, supervise=supervise)([{"input_ids": [5, 6, 7, 8], "prompt_length": 2}])["labels"]
    tensor([[5, 6, 7, 8]])
    tensor([[-100, -100,    7,    8]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        ignore_index: int | None = -100,
        end_token_id: int | None = None,
        max_length: int | None = None,
        truncation: Truncation = "right",
        padding_side: PaddingSide = "right",
        pad_to_multiple_of: int = 1,
        shift_labels: bool = False,
        supervise: Literal["all", "response"] = "all",
        labels: bool = True,
        as_tuple: bool = False,
    ) -> None:
        check_choices(
            error=CollateError,
            truncation=(truncation, get_args(Truncation)),
            padding_side=(padding_side, get_args(PaddingSide)),
            supervise=(supervise, ("all", "response")),
        )
        self.shift_labels, self.labels, self.as_tuple = check_flags(
            error=CollateError, shift_labels=shift_labels, labels=labels, as_tuple=as_tuple
        )
        if as_tuple and not labels:
            raise CollateError("as_tuple=True returns (input_ids, labels): it needs labels=True")
        if supervise == "response" and ignore_index is None:
            raise CollateError('supervise="response" marks the prompt with ignore_index: it cannot be None')
        self.pad_token_id, self.pad_to_multiple_of = check_counts(
            error=CollateError, pad_token_id=(pad_token_id, None), pad_to_multiple_of=(pad_to_multiple_of, 1)
        )
        self.ignore_index = _optional("ignore_index", ignore_index)
        self.end_token_id = _optional("end_token_id", end_token_id)
        self.max_length = _optional("max_length", max_length, 1)
        self.truncation: Truncation = truncation
        self.padding_side: PaddingSide = padding_side
        self.supervise = supervise

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Built:
        """Return the padded batch of `rows`; see the class."""
        return with_steps(self.collate(rows, new_arrays), rows, self)[0]

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        if not self.labels:
            return frozenset()
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    def collate(self, rows: Parcel | RaggedBatch | Sequence[Any], allocate: Allocator) -> list[Built]:
        """Return the padded batches of a parcel, as views of arrays from `allocate`, such as pinned memory.

        Rows that are no parcel are one batch.
        """
        if isinstance(rows, Parcel) and len(rows) == 1 and rows.tokens.homes is None and rows.packs is None:
            rows = next(rows.batches())
        if not isinstance(rows, Parcel):
            if not isinstance(rows, RaggedBatch):
                rows = read_rows(rows, ignore_index=self._marked, packs=False)  # with weights of 1 only
            plain = self._plain_rows if allocate is new_arrays else None
            if plain is not None and (batch := plain.batch(rows)) is not None:
                return [batch]
        arrays, build = self.fill(rows, allocate)
        return build.batches(arrays)

    def fill(self, rows: Parcel | RaggedBatch | Sequence[Any], allocate: Allocator) -> tuple[Flat, FilledRows]:
        """Return the tensors of all batches as flat arrays, and what gives them out; both can be pickled."""
        parcel, layout = self._lay_out(rows)
        runs = self._runs(parcel, layout)
        arrays = self._fill(parcel, layout, runs, self._names, allocate)
        return arrays, self._filled(parcel, layout, runs, arrays)

    def _filled(
        self, parcel: Parcel, layout: RowLayout, runs: Runs | None, arrays: Flat | None = None
    ) -> FilledRows:
        shapes, tokens = (layout.counts, layout.columns), layout.num_tokens().tolist()
        names = tuple(wanted_cells(self._names, layout.cells, runs))
        learnt = self._learnt(parcel, layout, runs, arrays)
        return FilledRows(names, *shapes, self.as_tuple, parcel.record_ids, tokens, *learnt)

    def stage(self, rows: Parcel | RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Return only the tokens of a parcel, side by side in their own dtype, and what pads them elsewhere.

        Beside them travels where each row goes, unless rows of one length fill all cells.
        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        parcel, layout = self._lay_out(rows)
        runs = self._runs(parcel, layout)
        labels = parcel.columns.get("labels") if self.labels else None
        sources: Sources = {"tokens": join_sequences(parcel.tokens, layout)}
        if labels is not None:
            sources["labels"] = join_sequences(labels, layout.for_labels(labels))
        if not layout.is_rectangle:
            places = (layout.first, layout.places) if layout.left else (layout.first,)
            sources["rows"] = (*places, layout.sequences)
        sources |= travelling(runs)
        build = RowsBuild(self._filled(parcel, layout, runs), layout.shift, self.pad_token_id, self._unlabelled)
        return Staged(stage_arrays(sources, allocate), build)

    def count(self, rows: Parcel) -> Counted:
        """Return the tokens and the targets that each batch of a parcel would have, and what these weigh."""
        parcel, layout = self._lay_out(rows)
        runs = self._runs(parcel, layout)
        return Counted.of(layout.num_tokens(), *self._learnt(parcel, layout, runs))

    @property
    def _marked(self) -> int | None:
        """What marks a token that is no target; without labels there is nothing to mark."""
        return self.ignore_index if self.labels else self._unlabelled

    @cached_property
    def _plain_rows(self) -> PlainRows | None:
        """How a batch of plain rows is padded; None if these arguments ask for more."""
        counted = self.labels and self.ignore_index is not None and self.ignore_index >= 0
        more = self.padding_side == "left" or self.supervise == "response"
        own = type(self)
        if counted or more or (own.fill, own.collate) != (PaddingCollator.fill, PaddingCollator.collate):
            return None
        return PlainRows(
            self._names,
            as_tuple=self.as_tuple,
            pad=self.pad_token_id,
            unlabelled=self._unlabelled,
            counts_padding=self.ignore_index is None,
            end_token_id=self.end_token_id,
            shift=int(self.shift_labels),
            max_length=self.max_length,
            multiple=self.pad_to_multiple_of,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an argument anew; what followed from the old one is forgotten."""
        super().__setattr__(name, value)
        self.__dict__.pop("_plain_rows", None)

    @property
    def _names(self) -> tuple[str, ...]:
        """The tensors of a batch."""
        if self.as_tuple:
            return "input_ids", "labels"
        return ("input_ids", "attention_mask", "labels") if self.labels else ("input_ids", "attention_mask")

    def _lay_out(self, rows: Parcel | RaggedBatch | Sequence[Any]) -> tuple[Parcel, RowLayout]:
        weighted = self.supervise == "response" and self.labels and not self.as_tuple
        parcel = read_parcel(rows, ignore_index=self._marked, packs=False, weighted=weighted)
        return parcel, lay_out(
            parcel,
            shift=int(self.shift_labels),
            end_token_id=self.end_token_id,
            max_length=self.max_length,
            truncation=self.truncation,
            padding_side=self.padding_side,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )

    def _runs(self, parcel: Parcel, layout: RowLayout) -> Runs | None:
        """Which labels are targets, if not all are."""
        return None if self.supervise == "all" or not self.labels else runs_of_rows(parcel, layout)

    @property
    def _unlabelled(self) -> int:
        return self.pad_token_id if self.ignore_index is None else self.ignore_index

    def _fill(
        self, parcel: Parcel, layout: RowLayout, runs: Runs | None, names: Sequence[str], allocate: Allocator
    ) -> dict[str, IntArray]:
        """The arrays of these names, int64[cells] each, and what their labels count."""
        arrays = allocate(wanted_cells(names, layout.cells, runs))
        targets = None if runs is None else (runs.starts, runs.stops)
        fill_batches(parcel, layout, arrays, targets, pad=self.pad_token_id, unlabelled=self._unlabelled)
        if runs is not None:
            runs.weigh(arrays, self._unlabelled)
        return arrays

    def _learnt(self, parcel: Parcel, layout: RowLayout, runs: Runs | None, arrays: Flat | None = None) -> Learnt:
        if (supervised := self._num_supervised(parcel, layout, runs)) is not None:
            return Learnt(supervised, sums_of(runs))
        arrays = self._fill(parcel, layout, runs, ["labels"], new_arrays) if arrays is None else arrays
        shapes, first = (layout.counts, layout.columns), 1 - layout.shift
        return Learnt.counted(arrays, *shapes, ignore_index=self.ignore_index, first=first)

    def _num_supervised(self, parcel: Parcel, layout: RowLayout, runs: Runs | None) -> list[int] | None:
        """The labels of each batch that count in the loss; None if only the labels can tell."""
        if not self.labels:
            return [0] * len(layout.counts)
        if self.ignore_index is None:
            less = 1 - layout.shift
            return [rows * (width - less) for rows, width in zip(layout.counts, layout.columns, strict=True)]
        if "labels" in parcel.columns or self.ignore_index >= 0:
            return None  # a token may have the value that the loss skips
        if runs is not None:
            counts = runs.counts
        else:
            counts = layout.num_tokens() - (0 if layout.shift else layout.filled_first())
        found: list[int] = counts.tolist()
        return found


def _optional(name: str, value: int | None, least: int | None = None) -> int | None:
    return None if value is None else check_count(name, value, least, error=CollateError)
