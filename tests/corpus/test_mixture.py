"""`mix`: several stores as one, with weights that are epochs."""

from collections import Counter

import numpy as np
import pytest
import tiktoken
from contracts import assert_resumes_everywhere
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import write_store

from fastcollate import (
    BucketedDataset,
    InputError,
    PaddingCollator,
    Ragged,
    StateMismatchError,
    StoreWriter,
    TokenStore,
    mix,
)
from fastcollate.corpus.corpus import RaggedCorpus
from fastcollate.plan.permutation import Purpose, derive_key, permute


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Three stores of 60, 41 and 7 records, in one to three shards."""
    folder = tmp_path_factory.mktemp("sources")
    sizes, shards = (60, 41, 7), (100, 15, 3)
    rng = np.random.default_rng(0)
    return [
        write_store(folder / str(i), rng.integers(1, 30, size), records_per_shard=per_shard, spans=True)
        for i, (size, per_shard) in enumerate(zip(sizes, shards, strict=True))
    ]


def delivered(dataset):
    return [batch.record_ids.tolist() for batch in dataset]


def flat(batches):
    return [record for batch in batches for record in batch if record >= 0]


@settings(max_examples=40)
@given(weights=st.lists(st.floats(0.1, 3.5), min_size=3, max_size=3), epoch=st.integers(0, 3))
def test_each_source_comes_as_often_as_its_weight_says(stores, weights, epoch):
    mixture = mix(list(zip(stores, weights, strict=True)))
    dataset = BucketedDataset(mixture, batch_size=8)
    dataset.set_epoch(epoch)
    seen = Counter(flat(delivered(dataset)))
    first = 0
    for store, weight in zip(stores, weights, strict=True):
        counts = [seen[first + i] for i in range(len(store))]
        assert sum(counts) == max(1, int(len(store) * weight + 0.5))
        assert max(counts) - min(counts) <= 1
        first += len(store)
    assert sum(seen.values()) == len(mixture)


def test_rows_are_the_sources_rows(stores):
    mixture = mix([(stores[0], 1), (stores[1], 1.5), (stores[2], 2)])
    everything = [store[i] for store in stores for i in range(len(store))]
    spans = [store.spans(i) for store in stores for i in range(len(store))]
    for batch in BucketedDataset(mixture, batch_size=8, rank=0, world_size=2):
        for row, record in enumerate(batch.record_ids.tolist()):
            if record < 0:
                assert batch.lengths[row] == 0
                continue
            np.testing.assert_array_equal(batch[row], everything[record])
            np.testing.assert_array_equal(batch.spans[row].reshape(-1, 2), spans[record])
        PaddingCollator(256, supervise="response")(batch)


def slow_locate(mixture, seed, epoch, index):
    """The source of one record and its number there: source after source, its whole epochs and then a choice."""
    for number, (source, count) in enumerate(zip(mixture.sources, mixture.counts, strict=True)):
        if index < count:
            turn, row = divmod(index, len(source.corpus))
            if turn == count // len(source.corpus):
                key = derive_key(seed, epoch, Purpose.CHOICE, number)
                row = int(permute(np.array([row]), len(source.corpus), key)[0])
            return number, row
        index -= count
    raise AssertionError(index)


@pytest.mark.parametrize("epoch", [0, 3])
def test_records_are_located_all_at_once(stores, epoch):
    rows = [Ragged.from_rows([[source]] * (source % 5)) for source in range(90)]  # some of them have none
    in_memory = mix([(part, 0.3 + source % 7) for source, part in enumerate(rows)])
    mixtures = [mix([(stores[0], 1), (stores[1], 2.4), (stores[2], 0.5), (stores[1], 0.1)]), in_memory]
    for mixture in mixtures:
        indices = np.arange(len(mixture)) * 7919 % len(mixture)
        records = mixture.at_epoch(5, epoch)
        expected = [slow_locate(mixture, 5, epoch, index) for index in indices.tolist()]
        sources, found = records.locate(indices)
        np.testing.assert_array_equal(np.stack([sources, found], axis=1), np.array(expected), strict=True)
        lengths = [len(mixture.sources[number].corpus[row]) for number, row in expected]
        np.testing.assert_array_equal(records.lengths_at(indices), np.array(lengths), strict=True)
        batch = records.gather(indices)
        bases = np.cumsum([0, *(len(source.corpus) for source in mixture.sources)])
        ids = [bases[number] + row for number, row in expected]
        np.testing.assert_array_equal(batch.record_ids, np.array(ids), strict=True)
        assert [row.tolist() for row in batch] == [mixture[record].tolist() for record in ids]
        assert len(records.lengths_at(np.arange(0))) == 0


def test_fractions_are_chosen_anew_each_epoch_and_come_back(stores):
    dataset = BucketedDataset(mix([(stores[0], 0.5)]), batch_size=10)
    chosen = []
    for epoch in (0, 1, 2, 0):
        dataset.set_epoch(epoch)
        chosen.append(sorted(flat(delivered(dataset))))
    assert chosen[0] == chosen[3]
    assert len({tuple(ids) for ids in chosen}) == 3
    assert set(chosen[0]) | set(chosen[1]) | set(chosen[2]) > set(chosen[0])


def test_planning_and_buckets_work_over_a_mixture(stores):
    mixture = mix([(stores[0], 2.7), (stores[1], 0.3)])
    dataset = BucketedDataset(mixture, max_tokens=120, buckets=3)
    shapes = {(len(batch), batch.width) for batch in dataset}
    assert shapes == set(dataset.shapes)
    assert len(list(dataset)) == len(dataset)


def test_a_mixture_resumes_at_every_batch(stores):
    def make():
        return BucketedDataset(mix([(stores[0], 0.5), (stores[1], 1.3)]), batch_size=8, seed=3)

    assert_resumes_everywhere(make)
    other = BucketedDataset(mix([(stores[0], 0.5), (stores[1], 1.4)]), batch_size=8, seed=3)
    with pytest.raises(StateMismatchError, match="taken with corpus"):
        other.load_state_dict(make().state_dict())


def test_bad_mixtures_are_named(stores, tmp_path):
    with pytest.raises(InputError, match="mix got no sources"):
        mix([])
    for weight in (0, -1, float("nan"), "2"):
        with pytest.raises(InputError, match="weights are epochs of a corpus, above 0"):
            mix([(stores[0], weight)])
    other = tiktoken.Encoding(
        "other",
        pat_str="(?s:.)",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={"<|endoftext|>": 300},
    )
    with StoreWriter(tmp_path / "other", encoding=other) as writer:
        writer.append(Ragged.from_rows([[1, 2]]))
    from fastcollate import TokenStore

    with pytest.raises(InputError, match="encodings 'bytes' and 'other', which are not the same"):
        mix([(stores[0], 1), (TokenStore(tmp_path / "other"), 1)])


def test_a_record_is_named_by_its_number_and_iterating_says_what_to_do(stores):
    mixture = mix([(stores[0], 1), (stores[1], 2)])
    together = len(stores[0]) + len(stores[1])
    np.testing.assert_array_equal(mixture[len(stores[0])], stores[1][0])
    for wrong in (together, together + 9, -1):
        with pytest.raises(IndexError, match=f"record {wrong} of a mixture whose sources have {together} records"):
            mixture[wrong]
    with pytest.raises(TypeError, match="a mixture has no order of its own: iterate a BucketedDataset"):
        list(mixture)


def test_a_mixture_of_mixtures_is_a_mixture_of_their_sources(stores):
    inner = mix([(stores[0], 1), (stores[1], 2)])
    flat = mix([(stores[0], 0.5), (stores[1], 1.0), (stores[0], 3.0)])
    nested = mix([(inner, 0.5), (stores[0], 3)])
    assert nested.fingerprint == flat.fingerprint
    assert [source.weight for source in nested.sources] == [0.5, 1.0, 3.0]
    assert delivered(BucketedDataset(nested, batch_size=8)) == delivered(BucketedDataset(flat, batch_size=8))


def test_rows_in_memory_can_be_mixed_and_sources_must_share_their_columns(stores):
    rows = Ragged.from_rows([[7, 8], [9]])
    mixture = mix([(rows, 2), (Ragged.from_rows([[1]]), 1)])
    ids = [record for batch in BucketedDataset(mixture, batch_size=2) for record in batch.record_ids.tolist()]
    assert sorted(record for record in ids if record >= 0) == [0, 0, 1, 1, 2]
    assert mixture.columns == {}
    with pytest.raises(
        InputError, match="mix got corpora of encodings 'bytes' and 'unknown', with the end-of-text"
    ):
        mix([(rows, 1), (stores[0], 1)])
    with pytest.raises(InputError, match=r"the end-of-text tokens \[256, 255\]: say that it is the same"):
        mix([(RaggedCorpus(rows, eot_token_id=255), 1), (stores[0], 1)])
    assert len(mix([(RaggedCorpus(rows, eot_token_id=256), 1), (stores[0], 1)])) == 2 + len(stores[0])


def test_an_unshuffled_mixture_says_that_its_sources_come_one_after_another(stores):
    with pytest.warns(UserWarning, match="delivers the sources of a mixture one after another"):
        dataset = BucketedDataset(mix([(stores[0], 1), (stores[1], 1)]), batch_size=8, window=8, shuffle=False)
    first = next(iter(dataset)).record_ids
    assert int(first.max()) < len(stores[0])


def test_strings_of_several_stores_have_one_numbering(tmp_path):
    """Each store numbers its own strings from 0: a number alone would mean another string in each."""
    kinds = [["a", "b", "a"], ["b", "c"], ["c", "a", "d"]]
    stores = []
    for number, each in enumerate(kinds):
        with StoreWriter(tmp_path / str(number), encoding="bytes", records_per_shard=2) as writer:
            writer.append(Ragged.from_rows([[i + 1] for i in range(len(each))]), columns={"kind": each})
        stores.append(TokenStore(tmp_path / str(number)))
    mixture = mix([(store, 2) for store in stores])
    words, seen = mixture.words("kind"), {}
    assert sorted(words) == ["a", "b", "c", "d"]
    for batch in BucketedDataset(mixture, batch_size=3):
        for record, row in zip(batch.record_ids.tolist(), batch.columns["kind"], strict=True):
            seen[record] = words[int(row[0])]
    assert [seen[record] for record in range(8)] == [kind for each in kinds for kind in each]
    with pytest.raises(InputError, match="no column of strings 'spans'"):
        mixture.words("spans")
