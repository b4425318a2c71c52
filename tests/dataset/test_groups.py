"""Groups of records stay together in a batch or a pack: over windows, ranks and steps, once each, also resumed."""

from functools import partial

import numpy as np
import pytest
from contracts import assert_exactly_once, assert_resumes_everywhere
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcollate import (
    BucketedDataset,
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

SHAPES = {
    "rows": lambda corpus, **world: BucketedDataset(corpus, batch_size=7, window=20, groups=True, **world),
    "tokens": lambda corpus, **world: BucketedDataset(corpus, max_tokens=130, window=15, groups=True, **world),
    "static": lambda corpus, **world: BucketedDataset(
        corpus, max_tokens=160, buckets=2, window=15, groups=True, longest_first=True, **world
    ),
    "packs": lambda corpus, **world: PackedDataset(
        corpus, length=100, batch_size=2, window=15, groups=True, **world
    ),
}
all_shapes = pytest.mark.parametrize("shape", SHAPES)


def corpus_of(sizes, *, longest=20, seed=0):
    """Records of random lengths in groups of these sizes."""
    lengths = np.random.default_rng(seed).integers(1, longest + 1, sum(sizes))
    rows = Ragged(np.repeat(np.arange(len(lengths)), lengths), np.concatenate([[0], np.cumsum(lengths)]))
    return RaggedCorpus(rows, groups=np.repeat(np.arange(len(sizes)), sizes))


def assert_whole(batches, groups):
    """Each batch has all records of its groups, those of a group side by side and in order."""
    for batch in batches:
        records = batch.record_ids[batch.record_ids >= 0]
        expected = [np.flatnonzero(groups == number) for number in dict.fromkeys(groups[records].tolist())]
        assert records.tolist() == np.concatenate([*expected, []]).astype(int).tolist()
        assert (batch.record_ids[len(records) :] == -1).all()


PAIRS, SIBLINGS = corpus_of([2] * 60), corpus_of([1, 4, 2, 3, 5, 2, 1, 1] * 8)
corpora = pytest.mark.parametrize("corpus", [PAIRS, SIBLINGS], ids=["pairs", "siblings"])


@all_shapes
@corpora
@pytest.mark.parametrize("world_size", [1, 3, 8])
def test_every_record_comes_once_beside_its_group(shape, corpus, world_size):
    make = partial(SHAPES[shape], corpus)
    assert_exactly_once(make, world_size)
    for rank in range(world_size):
        assert_whole(make(rank=rank, world_size=world_size), corpus.groups())


@all_shapes
@corpora
def test_a_run_over_groups_resumes_everywhere(shape, corpus):
    assert_resumes_everywhere(partial(SHAPES[shape], corpus), epochs=(0,))


@all_shapes
@corpora
@pytest.mark.parametrize(("before", "after"), [(4, 1), (2, 3), (1, 8)])
def test_a_run_resumed_on_other_ranks_tears_nothing_apart(shape, corpus, before, after):
    begun = [SHAPES[shape](corpus, rank=rank, world_size=before) for rank in range(before)]
    seen = []
    for dataset in begun:
        iterator = iter(dataset)
        seen += [next(iterator), next(iterator)]
    state = begun[0].state_dict()
    rest = [SHAPES[shape](corpus, rank=rank, world_size=after) for rank in range(after)]
    for dataset in rest:
        dataset.load_state_dict(state)
    streams = [list(dataset) for dataset in rest]
    assert len({len(stream) for stream in streams}) == 1
    batches = [*seen, *(batch for stream in streams for batch in stream)]
    assert_whole(batches, corpus.groups())
    records = np.concatenate([batch.record_ids for batch in batches])
    assert sorted(records[records >= 0].tolist()) == list(range(len(corpus)))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
    st.sampled_from(["rows", "tokens", "static"]),
    st.integers(1, 5),
    st.booleans(),
)
def test_no_batch_has_more_than_it_may(sizes, shape, world_size, drop_last):
    corpus = corpus_of(sizes)
    most = {"rows": {"batch_size": 7}, "tokens": {"max_tokens": 130}, "static": {"max_tokens": 160, "buckets": 2}}
    ranks = [
        BucketedDataset(
            corpus, **most[shape], window=20, groups=True, drop_last=drop_last, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    if drop_last and not len(ranks[0]):
        return
    for step in zip(*ranks, strict=True):
        assert_whole(step, corpus.groups())
        groups = [len(set(corpus.groups()[b.record_ids[b.record_ids >= 0]].tolist())) for b in step]
        assert min(groups) > 0 or max(groups) <= 1  # no rank has nothing while another has two groups
        for batch in step:
            width = int(batch.lengths.max()) if batch.width is None else batch.width
            assert len(batch) <= 7 if shape == "rows" else len(batch) * width <= 160 - 30 * (shape == "tokens")
            assert shape != "static" or (len(batch), width) in ranks[0].shapes


def test_pairs_fill_batches_and_packs_as_records_do():
    batches = list(BucketedDataset(PAIRS, batch_size=8, groups=True))
    assert [len(batch) for batch in batches] == [8] * 15
    packed = list(PackedDataset(PAIRS, length=200, groups=True))
    assert len(packed) <= -(-PAIRS.num_tokens // 200) + 1


def test_groups_fit_a_collator_of_a_fixed_capacity():
    dataset = PackedDataset(SIBLINGS, length=128, groups=True)
    with StreamLoader(
        dataset, PackingCollator(0, layout="flat", total=128, documents=10, multiple_of=4)
    ) as loader:
        batches = list(loader)
    assert {len(batch["cu_seqlens"]) for batch in batches} == {11}
    assert sum(batch.num_tokens for batch in batches) == SIBLINGS.num_tokens
    with pytest.raises(PlanError, match=r"documents is 4, but a batch of 1 pack.* may need 5"):
        dataset.plan_for(PackingCollator(0, layout="flat", total=128, documents=4))


@pytest.fixture
def preferences(tmp_path):
    with StoreWriter(tmp_path / "store", encoding="bytes", records_per_shard=10) as writer:
        for begin in range(0, 60, 6):
            group = np.repeat(np.arange(3), 2)
            writer.append(
                Ragged.from_rows([[n] * (1 + n % 7) for n in range(begin, begin + 6)]), columns={"group": group}
            )
    return TokenStore(tmp_path / "store")


def test_groups_of_a_store_and_of_its_parts_are_told_apart_over_shards(preferences):
    assert len(preferences.manifest.shards) > 3
    numbers = preferences.groups()
    assert len(set(numbers.tolist())) == 30
    for part in preferences.split({"train": 0.5, "test": None}, seed=3).values():
        groups = part.groups()
        assert np.unique(groups, return_counts=True)[1].tolist() == [2] * (len(part) // 2)
        assert_whole(BucketedDataset(part, batch_size=4, groups=True), groups)


@pytest.mark.parametrize("kind", [partial(BucketedDataset, batch_size=4), partial(PackedDataset, length=64)])
def test_a_corpus_without_whole_groups_is_refused(kind, preferences):
    rows = Ragged.from_rows([[1], [2], [3], [4]])
    with pytest.raises(PlanError, match=r"record 2 belongs to no group, and 1 records together: .* groups=False"):
        kind(RaggedCorpus(rows, groups=np.array([0, 0, -1, 1])), groups=True)
    with pytest.raises(PlanError, match=r"record 3 is of group 0, whose other records lie apart from it"):
        kind(RaggedCorpus(rows, groups=np.array([0, 0, 1, 0])), groups=True)
    with pytest.raises(PlanError, match=r"groups=True needs a corpus with a column 'group': prepare preference"):
        kind(rows, groups=True)
    with pytest.raises(PlanError, match=r"groups=True with a mixture: .* merge the stores"):
        kind(mix([(preferences, 1), (preferences, 0.5)]), groups=True)
    with pytest.raises(PlanError, match=r"groups is 1: it must be True or False"):
        kind(rows, groups=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(BucketedDataset, batch_size=4), "the group of records 13 to 17 needs 5 rows, and a batch has 4"),
        (
            partial(BucketedDataset, max_tokens=40),
            "needs .* padded tokens, and a batch has 40: make batches",
        ),
        (partial(PackedDataset, length=20), "needs .* tokens, padding counted, and a batch has 20"),
        (partial(PackedDataset, length=99, strategy="wrap"), 'strategy="wrap" cuts groups apart'),
        (partial(PackedDataset, length=99, overlong="split"), "overlong='split' with groups=True would tear"),
    ],
)
def test_a_group_that_no_batch_holds_is_refused(make, message):
    corpus = corpus_of([2, 3, 4, 4, 5, 2])
    with pytest.raises(PlanError, match=message):
        make(corpus, groups=True)


@corpora
@pytest.mark.parametrize("lanes", [2, 3])
@pytest.mark.parametrize("world_size", [1, 3])
def test_lanes_of_packs_keep_groups_whole(corpus, lanes, world_size):
    groups, seen = corpus.groups(), []
    for rank in range(world_size):
        dataset = SHAPES["packs"](corpus, lanes=lanes, accumulate=2, rank=rank, world_size=world_size)
        for batch in dataset:
            records = batch.record_ids[batch.record_ids >= 0]
            assert sorted(records) == np.flatnonzero(np.isin(groups, groups[records])).tolist()
            seen += records.tolist()
    assert sorted(seen) == list(range(len(groups)))


@pytest.mark.parametrize("shape", ["rows", "tokens", "static"])
def test_lanes_of_buckets_would_tear_groups_apart(shape):
    with pytest.raises(
        PlanError, match=r"lanes is 2 with groups=True: .* leave lanes out, or use a PackedDataset"
    ):
        SHAPES[shape](PAIRS, lanes=2)
