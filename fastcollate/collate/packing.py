from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcollate.arguments import check_choices, check_counts, check_flag
from fastcollate.collate.batch import Batch, with_steps
from fastcollate.collate.device_kernels import FilledPacks, PacksBuild
from fastcollate.collate.kernels import Stretches, outside
from fastcollate.collate.packed_rows.cells import describe_cells, place_tokens
from fastcollate.collate.packed_rows.cu_seqlens import boundary_counts, cu_seqlens_of, longest_documents
from fastcollate.collate.packed_rows.fixed import check_capacity
from fastcollate.collate.packed_rows.pack_layout import PackLayout, lay_out_flat, lay_out_packs
from fastcollate.collate.packed_rows.zigzag import chunked_batches
from fastcollate.collate.reading.inputs import read_parcel
from fastcollate.collate.runs import Learnt, Runs, runs_of_packs, sums_of, travelling, wanted_cells
from fastcollate.collate.staged import Allocator, Sources, Staged, new_arrays, stage_arrays, stage_singly
from fastcollate.collate.views import Flat
from fastcollate.errors import CollateError
from fastcollate.ragged import Capacity, Counted, Parcel, RaggedBatch

__all__ = ["PackingCollator"]


class PackingCollator:
    """`PackingCollator` makes one batch of packs: several documents in a row, none of which predicts another.

    It is called with what a `PackedDataset` yields, or with any rows that `PaddingCollator` takes: each row is
    then a pack of one document, or of those that its `position_ids` (which begin again at 0) or `seq_lengths`
    tell apart. It returns a `Batch`: `input_ids`, `labels` (aligned: the model shifts), `position_ids` (from 0 in
    each document) and `document_ids` (counted in each row, -1 on padding), int64[B, T] each. `record_ids` has one
    entry for each document.

    The documents of a row are kept apart by the attention of the model: give it a mask made of `document_ids`, or
    the flat layout's `cu_seqlens: int32[D+1]` and `max_seqlen` (an int).

    Args:
        pad_token_id: The token id that cells without a token hold in `input_ids`.
        layout: The shape of the batch: `"rows"` (default) makes a row of each pack; `"flat"` makes one row of all
            documents, without padding, int64[1, total].
        ignore_index: The value that `labels` hold at the first token of each document, at padding and at tokens
            that are no targets; -100 by default.
        supervise: The tokens that are targets: `"all"` (default), or those of the `"response"` alone, which
            are the rows' spans. Weights of spans become `loss_weights`: float32, of the shape of `labels`.
        keys: Whom the batch is for: with `"plain"` (default) a model of your own. With `"transformers"` a model of
            that library keeps documents apart by itself: sdpa, eager and flex attention by `position_ids`, which
            count because `use_cache=False` is in the batch and no mask is; flash attention, in a flat batch, by
            where documents begin, under that library's names. Layers that are no attention (Mamba, short
            convolutions) keep nothing apart: `fastcollate.trainers.isolation.check_isolation` tells.
        attention_mask: Whether a batch of rows has a mask of the real tokens, which tells nothing of documents;
            False by default.
        total: The cells of every flat batch, so that all batches of an epoch have one shape, as CUDA graphs and
            `torch.compile` want it, and one `max_seqlen`; by default a flat batch has a cell for each token.
        documents: The most documents of a flat batch, given together with `total`: the end of the last document is
            repeated in `cu_seqlens: int32[documents + 1]`. Cells after it are no document's, and attention kernels
            may leave anything there: a model zeroes their output where `document_ids` are -1.
        multiple_of: The number that the cells of each document are rounded up to a multiple of, 1 by default;
            `2 * cp` lets `Batch.shard` split it over `cp` ranks. A flat batch then has `cu_seqlens_padded` too.

    A `StreamLoader` has the dataset keep its batches within `total`, `documents` and `multiple_of`; before a
    `DataLoader` call `dataset.plan_for(collator)`.

    Raises:
        CollateError: Arguments or rows that make no batch; the argument or the row is named.

    The layout `"rows"` pads, and numbers the documents of each row:

    >>> rows = [{"input_ids": [5, 6, 7, 8, 9], "seq_lengths": [3, 2]}, {"input_ids": [4], "seq_lengths": [1]}]
    >>> batch = PackingCollator(0)(rows)
    >>> batch["input_ids"], batch["document_ids"]
    (tensor([[5, 6, 7, 8, 9],
            [4, 0, 0, 0, 0]]), tensor([[ 0,  0,  0,  1,  1],
            [ 0, -1, -1, -1, -1]]))

    The layout `"flat"` joins all documents, and says where each begins:

    >>> batch = PackingCollator(0, layout="flat")(rows)
    >>> batch["position_ids"], batch["cu_seqlens"], batch["max_seqlen"]
    (tensor([[0, 1, 2, 0, 1, 0]]), tensor([0, 3, 5, 6], dtype=torch.int32), 3)
    >>> batch["labels"]
    tensor([[-100,    6,    7, -100,    9, -100]])

    With `supervise="response"` only tokens inside the rows' spans are targets:

    >>> PackingCollator(0, supervise="response")([{"input_ids": [5, 6, 7, 8], "prompt_length": 2}])["labels"]
    tensor([[-100, -100,    7,    8]])
    """

    def __init__(
        self,
        pad_token_id: int,
        *,
        layout: Literal["rows", "flat"] = "rows",
        ignore_index: int = -100,
        supervise: Literal["all", "response"] = "all",
        keys: Literal["plain", "transformers"] = "plain",
        attention_mask: bool = False,
        total: int | None = None,
        documents: int | None = None,
        multiple_of: int = 1,
    ) -> None:
        check_choices(
            error=CollateError,
            layout=(layout, ("rows", "flat")),
            supervise=(supervise, ("all", "response")),
            keys=(keys, ("plain", "transformers")),
        )
        self.attention_mask = check_flag("attention_mask", attention_mask, error=CollateError)
        if attention_mask and layout == "flat":
            raise CollateError('attention_mask=True is for layout="rows": a flat batch has no padding to mask')
        if attention_mask and keys == "transformers":
            raise CollateError(
                'attention_mask=True with keys="transformers": given a mask, models of transformers let '
                "the documents of a row see each other; leave attention_mask out: labels ignore padding"
            )
        self.pad_token_id, self.ignore_index = check_counts(
            error=CollateError, pad_token_id=(pad_token_id, None), ignore_index=(ignore_index, None)
        )
        self.layout = layout
        self.supervise = supervise
        self.keys = keys
        self.total, self.documents, self.multiple_of = check_capacity(layout, total, documents, multiple_of)

    def __call__(self, rows: RaggedBatch | Sequence[Any]) -> Batch:
        """Return the packed batch of `rows`; see the class."""
        return with_steps(self.collate(rows, new_arrays), rows, self)[0]

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a dataset gathers for this collator, where its corpus has them."""
        return frozenset({"labels", "spans"} if self.supervise == "response" else {"labels"})

    @property
    def capacity(self) -> Capacity | None:
        """What a batch has room for, which the plan of a dataset must keep to; None where any batch fits."""
        return None if self._capacity == Capacity() else self._capacity

    @property
    def _capacity(self) -> Capacity:
        return Capacity(self.total, self.documents, self.multiple_of)

    def collate(self, rows: Parcel | RaggedBatch | Sequence[Any], allocate: Allocator) -> list[Batch]:
        """Return the packed batches of a parcel, as views of arrays from `allocate`, such as pinned memory.

        Rows that are no parcel are one batch.
        """
        parcel, layout = self._lay_out(rows)
        if layout is None:
            return [batch for part in parcel.singles() for batch in self.collate(part, allocate)]
        arrays, build = self._fill(parcel, layout, allocate)
        return build.batches(arrays)

    def fill(self, parcel: Parcel, allocate: Allocator) -> tuple[Flat, FilledPacks]:
        """Return the tensors of all batches as flat arrays, and what gives them out; both can be pickled.

        Raises:
            CollateError: Also where the batches of the parcel are of many widths, which only a `PackedDataset`
                prevents.
        """
        parcel, layout = self._lay_out(parcel)
        if layout is None:
            raise CollateError("rows of many widths are no packs: pack them with a PackedDataset")
        return self._fill(parcel, layout, allocate)

    def _fill(self, parcel: Parcel, layout: PackLayout, allocate: Allocator) -> tuple[Flat, FilledPacks]:
        runs, gaps = self._runs(parcel, layout), layout.gaps(parcel.tokens.lengths)
        arrays = allocate(wanted_cells(self._names, layout.cells, runs))
        tokens = place_tokens(parcel.tokens, layout, arrays["input_ids"], self.pad_token_id, gaps)
        self._write_labels(arrays, parcel, layout, runs=runs, gaps=gaps, tokens=tokens)
        describe_cells(arrays, layout, gaps)
        names, build = list(arrays), self._build(parcel, layout, self._learnt(parcel, layout, runs, arrays))
        return {**arrays, **self._boundaries(parcel, layout)}, FilledPacks(names, build)

    def count(self, parcel: Parcel) -> Counted:
        """Return the tokens and the targets that each batch of a parcel would have, and what these weigh."""
        parcel, layout = self._lay_out(parcel)
        if layout is None:
            return Counted.joined([self.count(part) for part in parcel.singles()])
        return Counted.of(layout.num_tokens, *self._learnt(parcel, layout, self._runs(parcel, layout)))

    def stage(self, rows: Parcel | RaggedBatch | Sequence[Any], allocate: Allocator) -> Staged:
        """Return only the tokens of a parcel, in their own dtype, and what lays them out elsewhere.

        `stage(rows, allocate).build` gives on any device what `collate(rows, allocate)` gives on the host.
        """
        parcel, layout = self._lay_out(rows)
        if layout is None:
            return stage_singly([self.stage(part, new_arrays) for part in parcel.singles()], allocate)
        runs, given = self._runs(parcel, layout), parcel.columns.get("labels")
        nobody = np.zeros(1, np.int64)  # one document without tokens: all is gap
        documents = (layout.begins, parcel.tokens.lengths, layout.numbers)
        sources: Sources = {
            "tokens": parcel.tokens.joined().values,
            "documents": documents if len(layout.begins) else (nobody,) * 3,
        }
        if given is not None:
            sources["labels"] = given.joined().values
        sources |= travelling(runs)
        sources |= self._boundaries(parcel, layout)
        build = self._build(parcel, layout, self._learnt(parcel, layout, runs))
        return Staged(stage_arrays(sources, allocate), build)

    def _lay_out(self, rows: Parcel | RaggedBatch | Sequence[Any]) -> tuple[Parcel, PackLayout | None]:
        """The parcel, and where in it each document lies; None where its batches need packs of many widths."""
        weighted = self.supervise == "response"
        parcel = read_parcel(rows, ignore_index=self.ignore_index, packs=True, weighted=weighted)
        if self.layout == "flat":
            return lay_out_flat(parcel, self._capacity)
        if parcel.packs is None and len(parcel) > 1:
            return parcel, None
        return lay_out_packs(parcel, self.multiple_of)

    def _runs(self, parcel: Parcel, layout: PackLayout) -> Runs | None:
        """Which labels are targets, if not all are."""
        return None if self.supervise == "all" else runs_of_packs(parcel, layout)

    def _build(self, parcel: Parcel, layout: PackLayout, learnt: Learnt) -> PacksBuild:
        return PacksBuild(
            rows=layout.rows,
            columns=layout.columns,
            pad_token_id=self.pad_token_id,
            ignore_index=self.ignore_index,
            document_ids=self.keys == "plain",
            attention_mask=self.attention_mask,
            keys=self.keys,
            documents=layout.counts.tolist(),
            boundaries=boundary_counts(layout, self._capacity),
            chunked=chunked_batches(layout, parcel.tokens.lengths, self.multiple_of),
            longest=longest_documents(parcel, layout, self._capacity),
            record_ids=parcel.record_ids,
            num_tokens=layout.num_tokens.tolist(),
            **learnt._asdict(),
        )

    def _boundaries(self, parcel: Parcel, layout: PackLayout) -> dict[str, NDArray[np.int32]]:
        """Where the documents of flat batches begin, by name."""
        return {} if self.layout == "rows" else cu_seqlens_of(layout, parcel.tokens.lengths, self._capacity)

    def _write_labels(
        self,
        arrays: Flat,
        parcel: Parcel,
        layout: PackLayout,
        *,
        runs: Runs | None,
        gaps: Stretches,
        tokens: NDArray[Any] | None = None,
    ) -> None:
        """Write a label for each cell where there is a target, `ignore_index` elsewhere, and what each counts."""
        labels, given = arrays["labels"], parcel.columns.get("labels")
        if given is None:
            np.copyto(labels, parcel.tokens.laid_out(layout.begins, layout.cells) if tokens is None else tokens)
            gaps.fill(labels, self.ignore_index)
        else:
            place_tokens(given, layout, labels, self.ignore_index, gaps)
        labels[layout.begins] = self.ignore_index
        if runs is not None:
            outside(runs.starts, runs.stops, layout.cells).fill(labels, self.ignore_index)
            runs.weigh(arrays, self.ignore_index)

    @property
    def _names(self) -> list[str]:
        """The tensors of a batch that have a value for each cell."""
        beside = {"document_ids": self.keys == "plain", "attention_mask": self.attention_mask}
        return ["input_ids", "labels", "position_ids", *(name for name, wanted in beside.items() if wanted)]

    def _learnt(self, parcel: Parcel, layout: PackLayout, runs: Runs | None, arrays: Flat | None = None) -> Learnt:
        if (supervised := self._num_supervised(parcel, layout, runs)) is not None:
            return Learnt(supervised, sums_of(runs))
        if arrays is None:  # only the labels tell: make them
            arrays = new_arrays(wanted_cells(["labels"], layout.cells, runs))
            self._write_labels(arrays, parcel, layout, runs=runs, gaps=layout.gaps(parcel.tokens.lengths))
        return Learnt.counted(arrays, layout.rows, layout.columns, ignore_index=self.ignore_index, first=0)

    def _num_supervised(self, parcel: Parcel, layout: PackLayout, runs: Runs | None) -> list[int] | None:
        """The labels of each batch that count in the loss; None if only the labels can tell."""
        if "labels" in parcel.columns or self.ignore_index >= 0:
            return None  # a token may have the value that the loss skips
        counts = layout.num_tokens - layout.counts if runs is None else runs.counts
        found: list[int] = counts.tolist()
        return found
