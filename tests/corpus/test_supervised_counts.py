"""How many targets records have: what a store, a mixture, a view and rows in memory say is what a loop counts."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastcollate import (
    PackedDataset,
    PackingCollator,
    PlanError,
    Ragged,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.corpus.corpus import RaggedCorpus
from fastcollate.ragged import Column

ROWS = [[1, 2, 3, 4], [5], [6, 7, 8], [9, 10], [11, 12, 13]]
SPANS = [[0, 1, 2, 4], [], [1, 3], [0, 2], [2, 3]]
TARGETS = [3, 0, 2, 2, 1]
LABELS = [[1, -100, 3, 4], [-100], [-100, 7, 8], [9, 10], [-100, -100, 13]]


def written(path, **options):
    with StoreWriter(path, encoding="bytes", template="alpaca", **options) as writer:
        writer.append(Ragged.from_rows(ROWS), Ragged.from_rows(SPANS))
    return TokenStore(path)


def counted(corpus, indices):
    return corpus.at_epoch(0, 0).supervised_at(np.array(indices, np.int64))


@pytest.mark.parametrize("layout", ["arrow", "npy"])
@pytest.mark.parametrize("records_per_shard", [2, 100])
def test_a_store_and_its_views_know(tmp_path, layout, records_per_shard):
    store = written(tmp_path / "store", layout=layout, records_per_shard=records_per_shard)
    expected = np.array([TARGETS[i] for i in (4, 0, 1, 0, 3)])
    np.testing.assert_array_equal(counted(store, [4, 0, 1, 0, 3]), expected, strict=True)
    rest = store.split({"first": 0.4, "rest": None})["rest"]
    np.testing.assert_array_equal(counted(rest, [2, 0]), np.array([1, 2]), strict=True)


def test_rows_in_memory_know(tmp_path):
    rows = Ragged.from_rows(ROWS)
    for given in ({"spans": Ragged.from_rows(SPANS)}, {"labels": Ragged.from_rows(LABELS)}):
        np.testing.assert_array_equal(
            counted(RaggedCorpus(rows, **given), range(5)), np.array(TARGETS), strict=True
        )
    np.testing.assert_array_equal(counted(RaggedCorpus(rows), [0, 3]), np.array([4, 2]), strict=True)


def test_a_mixture_asks_its_sources_and_takes_all_tokens_where_one_does_not_know(tmp_path):
    class Unknowing:
        """The records of a corpus of somebody's own."""

        def __init__(self, records):
            self.lengths_at, self.find, self.gather = records.lengths_at, records.find, records.gather

    store, plain = written(tmp_path / "store"), RaggedCorpus(Ragged.from_rows(ROWS), eot_token_id=256)
    records = mix([(store, 1.0), (plain, 1.0)]).at_epoch(0, 0)
    records._records[1] = Unknowing(plain)
    found = records.supervised_at(np.arange(10))
    np.testing.assert_array_equal(found, np.array([*TARGETS, *map(len, ROWS)]), strict=True)


def test_packs_of_a_step_have_as_many_targets_on_each_rank(tmp_path):
    drawn = np.random.default_rng(5)
    lengths = drawn.integers(2, 60, 600)
    spans = [[n - int(n * share) - 1, int(n)] for n, share in zip(lengths, drawn.random(600), strict=True)]
    with StoreWriter(tmp_path / "store", encoding="bytes", template="alpaca") as writer:
        writer.append(Ragged.from_rows([[1] * n for n in lengths]), Ragged.from_rows(spans))
    store, spread = TokenStore(tmp_path / "store"), {}
    for balance in ("targets", None):
        given = {"length": 256, "window": 600, "balance": balance, "world_size": 4}
        ranks = [PackedDataset(store, rank=rank, **given) for rank in range(4)]
        assert len({str(rank.state_dict()) for rank in ranks}) == 1
        collate = PackingCollator(0, supervise="response")
        counts = [[batch.num_supervised for batch in StreamLoader(rank, collate)] for rank in ranks]
        steps = np.array(counts).T
        assert int(steps.sum()) <= int(store.supervised.sum())
        spread[balance] = (steps.max(axis=1) / steps.mean(axis=1)).mean()
    assert spread["targets"] < 1.1 < spread[None]


def test_a_corpus_with_labels_that_does_not_count_them_is_refused():
    class Labelled:
        """A corpus of somebody's own, whose records say nothing of their targets."""

        columns, eot_token_id, fingerprint = {"labels": Column("int64", "token")}, 256, "0" * 64

        def __len__(self):
            return 5

        def length_histogram(self):
            return np.unique(list(map(len, ROWS)), return_counts=True)

        def at_epoch(self, seed, epoch):
            return SimpleNamespace(lengths_at=lambda indices: np.array([len(ROWS[i]) for i in indices]))

        def __repr__(self):
            return "Labelled()"

    known = RaggedCorpus(Ragged.from_rows(ROWS), labels=Ragged.from_rows(LABELS), eot_token_id=256)
    for corpus in (Labelled(), mix([(known, 1.0), (Labelled(), 1.0)])):
        with pytest.raises(PlanError, match=r"Labelled\(\) has labels, and does not say how many targets"):
            PackedDataset(corpus, length=8, balance="targets")
        PackedDataset(corpus, length=8)
