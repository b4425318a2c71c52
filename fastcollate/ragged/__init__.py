"""The shapes that data has between rooms: `Ragged` arrays, `Rows`, `RaggedBatch` and `Packs`.

The room imports NumPy, `errors` and `arguments`, and no other room: every room may import it. Its docstring keeps
the letters and the words of the whole project, one meaning each.

Shapes are written `dtype[dims]`, as in `input_ids: int64[B, T]`. The letters:

    B  rows of a batch, fillers included         D  documents of a batch of packs
    T  columns of a batch, its width             P  packs of a batch
    N  records of a corpus, rows of a `Ragged`   S  spans
    V  values side by side, all rows together    M  whatever was asked for, such as indices

The words:

    record    what one row of the source became: the unit that a corpus numbers and an epoch delivers once
    document  tokens that attend to each other: a whole record, or a piece of one where packs cut records
    piece     consecutive tokens of one record, cut out because the record is too long for a row
    segment   text before it is tokens: a part of a document that is wholly a target, or wholly none
    span      (start, stop) of consecutive tokens of a record that are targets
    run       consecutive cells of a batch that are targets: a span after it was laid out and cut
    column    named values beside the tokens, one per token, per span or per record, such as `labels`
    corpus    whatever a dataset reads: records of tokens, their lengths, a fingerprint
    store     a corpus on disk, in the format that `fastcollate.store` specifies
    shard     one of a store's parts: some consecutive records in files of their own
    source    where records come from before they are tokens: a file, a URL, an iterable
    template  what turns a record into segments
    row       one line of a batch, or of any `Ragged`; `source_row` counts the records of a source
    batch     the rows that a model sees at once on one rank
    filler    a row without a record: it evens ranks out, its record id is -1 and the loss ignores it
    pack      a row of fixed length that holds several documents
    gap       the cells of a pack that no document fills
    step      as many batches as there are ranks, neighbours in cost: what all ranks do at the same time
    group     the number of batches in a step, fixed when a run first starts
    window    consecutive records of the shuffled order that are planned together
    landmark  the batch and the token at which a window begins
    plan      which records make which batch of an epoch: a pure function of arguments, seed and epoch
    epoch     one time through the corpus; its number and the seed decide the order
    pass      one iteration over a dataset or a loader: the rest of an epoch from its position
    position  how far a run is: epoch, global batches delivered, landmark
    state     a position and the fingerprint of the plan it belongs to, as JSON
    slab      page-locked memory in which batches wait for their copy to a device
"""

from fastcollate.ragged.packs import Packs
from fastcollate.ragged.ragged import IntArray, Ragged, Rows, row_numbers, rows_side_by_side
from fastcollate.ragged.ragged_batch import Column, RaggedBatch

__all__ = ["Column", "IntArray", "Packs", "Ragged", "RaggedBatch", "Rows", "row_numbers", "rows_side_by_side"]
