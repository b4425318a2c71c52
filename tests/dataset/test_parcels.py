"""Parcels: the batches of a pass in parts that are soon there, bounded, and the same for every kind of corpus."""

import numpy as np
import pytest
from batches import DATASETS, outlines
from contracts import contents
from stores import lognormal_lengths, write_store

from fastcollate import BucketedDataset, Ragged, mix
from fastcollate.corpus.corpus import RaggedCorpus


def sizes(dataset):
    return [len(parcel) for parcel in dataset.parcels(dataset.begin().start)]


def rows(lengths):
    return Ragged.from_rows([np.arange(length) for length in lengths])


def test_the_first_parcel_has_one_batch_and_later_ones_64_at_most():
    assert sizes(BucketedDataset(rows([3] * 1000), batch_size=2)) == [1, 4, 16, 64, 64, 64, 64, 64, 64, 64, 31]


@pytest.mark.parametrize(("length", "most"), [(100, 64), (1 << 11, 32), (1 << 14, 4), (1 << 16, 1)])
def test_a_parcel_has_131072_cells_at_most_or_one_batch(length, most):
    found = sizes(BucketedDataset(rows([length] * 300), batch_size=2))
    assert (max(found), sum(found)) == (most, 150)


@pytest.mark.parametrize("kind", DATASETS)
def test_rows_of_many_shards_and_sources_are_those_of_one_array(tmp_path, kind):
    lengths = lognormal_lengths(300)
    store = write_store(tmp_path / "store", lengths, records_per_shard=17, spans=True)
    whole = store.take(np.arange(300))
    halves = [write_store(tmp_path / str(n), part, spans=True) for n, part in enumerate(np.split(lengths, 2))]
    mixed = mix([(half, 1) for half in halves])
    for corpus in (store, mixed):
        for batch in DATASETS[kind](corpus):
            cuts = np.zeros(len(batch), int) if batch.cuts is None else batch.cuts
            for record, cut, row in zip(batch.record_ids.tolist(), cuts.tolist(), batch, strict=True):
                if record >= 0:
                    np.testing.assert_array_equal(row, corpus[record][cut : cut + len(row)], strict=True)
    in_memory = RaggedCorpus(whole)
    assert outlines(DATASETS[kind](in_memory)) == outlines(DATASETS[kind](store))


class Gathering:
    """A corpus that knows only how to gather."""

    eot_token_id = None
    fingerprint = "gathering"

    def __init__(self, ragged):
        self._corpus, self.columns = RaggedCorpus(ragged), {}
        self.length_histogram = self._corpus.length_histogram

    def __len__(self):
        return len(self._corpus)

    def at_epoch(self, seed, epoch):
        del seed, epoch
        return _Gathers(self._corpus)


class _Gathers:
    def __init__(self, corpus):
        self.lengths_at, self.gather = corpus.lengths_at, corpus.gather


def test_a_corpus_may_know_only_how_to_gather():
    ragged = rows(lognormal_lengths(100).tolist())
    found, expected = (BucketedDataset(corpus, batch_size=3) for corpus in (Gathering(ragged), ragged))
    assert contents(found) == contents(expected)
    assert max(sizes(found)) <= 16
    mixtures = (mix([(corpus, 1), (ragged, 2)]) for corpus in (Gathering(ragged), ragged))
    found, expected = (BucketedDataset(mixture, batch_size=3) for mixture in mixtures)
    assert contents(found) == contents(expected)
