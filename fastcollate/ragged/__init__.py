"""The shapes that data has between rooms: `Ragged` arrays, `Rows`, `RaggedBatch` and `Packs`.

The room imports NumPy, `errors` and `arguments`, and no other room: every room may import it. Its docstring keeps
the letters and the words of the whole project, one meaning each.

Shapes are written `dtype[dims]`, as in `input_ids: int64[B, T]`. The letters:

    B  rows of a batch, fillers included         D  documents of a batch of packs
    T  columns of a batch, its width             P  packs of a batch
    N  records of a corpus, rows of a `Ragged`   S  spans
    V  values side by side, all rows together    M  whatever was asked for, such as indices
    R  rows of all batches of a parcel           C  batches of a parcel

The words:

    source    A source is where records come from before they are tokens: a file, a URL or an iterable of dicts.
    template  A template turns the text of a record into segments.
    segment   A segment is a stretch of text, before it is tokens, that is a target as a whole or not at all.
    record    A record is one example: a dict in a source, and in a corpus the tokens that became of it.
    corpus    A corpus is what a dataset reads: numbered records, their lengths and a fingerprint of the data.
    store     A store is a corpus on disk, in the format that `fastcollate.store` specifies.
    shard     A shard is a part of a store: some consecutive records in files of their own.
    span      A span is the place of consecutive targets in a record, as (start, stop) in tokens.
    column    A column is a named array beside the tokens of records, such as `spans` or `labels`.
    document  A document is a whole record or a piece of one, whose tokens attend only to each other.
    piece     A piece is some consecutive tokens of a record that a plan of packs cut.
    row       A row is one line of a batch or a `Ragged`; a row of a source is one record or one broken line.
    filler    A filler is a row without a record, which evens ranks out: its id is -1 and the loss ignores it.
    width     The width of a batch is the number of cells of each of its rows, padding counted.
    batch     A batch is the rows that one rank trains on at once.
    run       A run is the place of consecutive targets in the cells of a batch: a span that was laid out.
    pack      A pack is a row of fixed length that holds several documents, one after another.
    gap       A gap is the cells at the end of a pack that no document fills.
    epoch     An epoch is one time through a corpus; its number and the seed decide the order.
    plan      A plan says which records make which batch of an epoch; it is a function of its arguments alone.
    window    A window is the records at consecutive places of an epoch's order, which are planned together.
    landmark  A landmark says at which batch of the epoch, and at which token, a window begins.
    rank      A rank is one of the processes that train together, and its number among these.
    step      A step is the batches of one step of the optimizer over all ranks, alike in cost: one or more each.
    micro     A micro-batch is one of the batches that a rank takes in the same step, and their number from 0.
    group     The group is the number of batches in a planned step, as many as when the run began.
    pass      A pass is one iteration over a dataset or loader: the rest of an epoch, from a position on.
    position  A position says how far a run is: its epoch, and how many batches of it all ranks together delivered.
    state     A state is a position as JSON, with the seed and the fingerprint of the data and arguments.
    capacity  A capacity is what a batch of a collator has room for: so many cells and documents, padded to chunks.
    share     A share is some consecutive batches of one worker of one rank, as a plan names their records.
    parcel    A parcel is a part of a share whose records were found: it is collated and handed over at once.
    slab      A slab is host memory, page-locked for CUDA, in which a batch lies while it is copied to a device.
"""

from fastcollate.ragged.bound import Bound
from fastcollate.ragged.capacity import Capacity
from fastcollate.ragged.memory import address_of, new_array
from fastcollate.ragged.merged_rows import MergedRows
from fastcollate.ragged.packs import Packs
from fastcollate.ragged.parcel import Parcel
from fastcollate.ragged.ragged import (
    IntArray,
    Ragged,
    Rows,
    offsets_of,
    places_by_home,
    rows_between,
    steps_between,
)
from fastcollate.ragged.ragged_batch import Column, RaggedBatch, inside_spans
from fastcollate.ragged.row_numbers import record_number, row_numbers
from fastcollate.ragged.scattered import Found, Scattered
from fastcollate.ragged.span import Span, bounds_at
from fastcollate.ragged.steps import Counted, StepNumbers, Steps, WholeSteps

__all__ = [
    "Bound",
    "Capacity",
    "Column",
    "Counted",
    "Found",
    "IntArray",
    "MergedRows",
    "Packs",
    "Parcel",
    "Ragged",
    "RaggedBatch",
    "Rows",
    "Scattered",
    "Span",
    "StepNumbers",
    "Steps",
    "WholeSteps",
    "address_of",
    "bounds_at",
    "inside_spans",
    "new_array",
    "offsets_of",
    "places_by_home",
    "record_number",
    "row_numbers",
    "rows_between",
    "steps_between",
]
