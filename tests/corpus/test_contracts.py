"""What every corpus must keep under every kind of dataset: a store, a mixture, a mixture of mixtures, an array."""

import numpy as np
import pytest
from batches import DATASETS
from contracts import assert_exactly_once, assert_resumes_everywhere, assert_same_stream
from stores import lognormal_lengths, write_store
from torch.utils.data import DataLoader

from fastcollate import Ragged, mix
from fastcollate.corpus.corpus import RaggedCorpus

COUNTS = (230, 41)  # records of the two stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [
        write_store(folder / str(count), lognormal_lengths(count, seed=count), records_per_shard=100, spans=True)
        for count in COUNTS
    ]


@pytest.fixture(params=["store", "part of a store", "mixture", "mixture of mixtures", "array"])
def corpus(request, stores):
    """(corpus, records it numbers, how often a record comes)."""
    large, small = stores
    if request.param == "store":
        return large, len(large), lambda _: 1
    if request.param == "part of a store":
        return large.split({"first": 0.4, "rest": None})["rest"], 138, lambda _: 1
    if request.param == "mixture":
        return mix([(large, 1), (small, 3)]), sum(COUNTS), lambda record: 1 if record < COUNTS[0] else 3
    if request.param == "mixture of mixtures":
        pair = mix([(small, 1), (small, 2)])
        return mix([(pair, 2)]), 2 * COUNTS[1], lambda record: 2 if record < COUNTS[1] else 4
    rows = [np.arange(length, dtype=np.uint32) for length in lognormal_lengths(150).tolist()]
    return RaggedCorpus(Ragged.from_rows(rows)), 150, lambda _: 1


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("world_size", [1, 3])
def test_every_token_comes_as_often_as_it_should(corpus, kind, world_size):
    source, records, often = corpus

    def make(**world):
        return DATASETS[kind](source, **world)

    assert_exactly_once(make, world_size, records=records, often=often)


@pytest.mark.parametrize("kind", DATASETS)
def test_two_datasets_and_two_workers_deliver_one_stream(corpus, kind):
    source = corpus[0]
    assert_same_stream(DATASETS[kind](source), DATASETS[kind](source))
    if kind in {"rows", "wrap"}:  # workers are slow to start, and have one way to share a stream
        loader = DataLoader(DATASETS[kind](source), batch_size=None, num_workers=2)
        assert_same_stream(loader, DATASETS[kind](source))


@pytest.mark.parametrize("kind", DATASETS)
def test_it_resumes_at_every_batch(corpus, kind):
    source = corpus[0]
    assert_resumes_everywhere(lambda: DATASETS[kind](source))
