"""The door to TRL: the records of a corpus as a `datasets.Dataset`, which is what its trainers take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcollate.corpus.corpus import Corpus, as_corpus
from fastcollate.corpus.row_checks import NO_TARGET
from fastcollate.errors import InputError
from fastcollate.ragged import Ragged, inside_spans
from fastcollate.store.reader import TokenStore
from fastcollate.store.shards.arrow_arrays import arrow_table
from fastcollate.trainers.framework import framework

__all__ = ["as_dataset"]

_AT_ONCE = 65_536  # records of a corpus whose rows are copied
_HELD = ("spans", "labels")


def as_dataset(corpus: Corpus | Ragged) -> Any:
    """Return a `datasets.Dataset` of the records of a corpus, in their order, for `SFTTrainer`.

    It has the column `input_ids` and, where the corpus says what is learnt, `labels`: int32, -100 where nothing
    is. The tokens of a `TokenStore`, or of a view of one, are not copied: they are the mapped files. Labels are
    made, with 4 bytes a token, and the tokens of other corpora are copied.

    With `SFTConfig(dataset_kwargs={"skip_prepare_dataset": True})` TRL takes both as they are; without it, it
    copies all rows several times. Records are not cut to `max_length` then: cut them in `prepare`. Files are not
    hashed while TRL reads them: open the store with `verify="full"` where that matters.

    Args:
        corpus: A store, a view of one, or another corpus; a mixture gives its records of epoch 0.

    Raises:
        InputError: The package datasets is not installed, or the corpus has weights, which labels cannot hold.

    >>> from fastcollate import Ragged
    >>> as_dataset(Ragged.from_rows([[1, 2], [3]]))[0]  # doctest: +SKIP
    {'input_ids': [1, 2]}
    """
    datasets, whole = framework("datasets"), as_corpus(corpus)
    if "weights" in whole.columns:
        raise InputError(
            "the corpus has weights, and labels say only whether a token is learnt: train on it with a "
            'PaddingCollator(supervise="response"), whose batches have loss_weights, or prepare it without weights'
        )
    parts = list(_of_store(whole) if isinstance(whole, TokenStore) else _of_corpus(whole))
    columns = {"input_ids": [(part.tokens.values, part.tokens.offsets) for part in parts]}
    if any(name in whole.columns for name in _HELD):
        columns["labels"] = [(part.targets(), part.tokens.offsets) for part in parts]
    table = framework("datasets.table").InMemoryTable(arrow_table(columns))
    if not isinstance(whole, TokenStore):
        return datasets.Dataset(table, fingerprint=whole.fingerprint)
    chosen = whole.at_epoch(0, 0).chosen
    return datasets.Dataset(table, fingerprint=whole.manifest.fingerprint).select(chosen)


class _Part(NamedTuple):
    """Some records: their tokens, and what says which of them are learnt."""

    tokens: Ragged
    spans: Ragged | None
    labels: Ragged | None

    def targets(self) -> NDArray[np.int32]:
        """Return the labels of all tokens, int32[V].

        Of the rows [5 6 7] and [8], the first with the span (1, 3): edges [0 1 0 -1 0], inside [0 1 1 0],
        labels [-100 6 7] and [-100].
        """
        tokens, offsets = self.tokens.values, self.tokens.offsets
        labels = (tokens if self.labels is None else self.labels.values).astype(np.int32)
        if self.spans is not None:
            labels[~inside_spans(self.spans.values, self.spans.lengths, offsets)] = NO_TARGET
        return labels


def _of_store(store: TokenStore) -> Iterator[_Part]:
    """The shards of a store, as they lie in its files."""
    for shard in store.at_epoch(0, 0).shards:
        beside = shard.beside("labels") if "labels" in store.columns else None
        labels = None if beside is None else Ragged(beside.values, beside.offsets)
        yield _Part(shard.tokens, shard.spans if store.has_spans else None, labels)


def _of_corpus(corpus: Corpus) -> Iterator[_Part]:
    """The records of another corpus, copied."""
    records, held = corpus.at_epoch(0, 0), [name for name in _HELD if name in corpus.columns]
    for begin in range(0, len(corpus), _AT_ONCE):
        batch = records.gather(np.arange(begin, min(begin + _AT_ONCE, len(corpus))), held)
        spans, labels = (batch.columns[name].to_ragged() if name in held else None for name in _HELD)
        yield _Part(batch.tokens.to_ragged(), spans, labels)
