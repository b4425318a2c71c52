"""Opening whatever lies at a path: a store, or token files of a format that their content tells."""

import pickle

import numpy as np
import pytest
from foreign import assert_holds, documents
from foreign_files import write_datatrove, write_megatron
from stores import write_store

from fastcollate import (
    BucketedDataset,
    InputError,
    PlanError,
    StoreChangedError,
    StoreError,
    TokenStore,
    mix,
    open_corpus,
)

ROWS = [[7, 8, 9], [10], [11, 12]]


def test_a_store_opens_as_a_store(tmp_path):
    written = write_store(tmp_path / "store", [3, 2])
    opened = open_corpus(tmp_path / "store")
    assert isinstance(opened, TokenStore)
    assert opened.fingerprint == written.fingerprint
    (tmp_path / "store" / "manifest.json").unlink()
    with pytest.raises(StoreError, match="its writer was stopped before it finished"):
        open_corpus(tmp_path / "store")


@pytest.mark.parametrize("argument", [{"dtype": "uint16"}, {"eot_token_id": 256}])
def test_a_store_says_itself_what_it_is(tmp_path, argument):
    write_store(tmp_path / "store", [3, 2])
    (name,) = argument
    with pytest.raises(
        InputError, match=f"store is a store, which says itself what its tokens are: leave {name} out"
    ):
        open_corpus(tmp_path / "store", **argument)


@pytest.mark.parametrize("place", ["nothing", "empty", "notes.txt", "no*.bin"])
def test_what_is_unknown_is_told(tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("tokens")
    with pytest.raises(
        StoreError, match=r"no token files of a known format are there: give a store, Megatron \.bin"
    ):
        open_corpus(tmp_path / place)


@pytest.mark.parametrize("url", ["https://x.org/a.bin", "hf://x/y"])
def test_what_is_elsewhere_is_told(url):
    with pytest.raises(
        StoreError, match=r"stores are in directories, or at s3://, gs:// or az://: copy it to one of them"
    ):
        open_corpus(url)


def test_files_that_differ_have_another_fingerprint(tmp_path):
    rows = [row.tolist() for row in documents(60, most=200)]
    found = set()
    for number, changed in enumerate(
        [rows, rows[::-1], [*rows[:-1], [*rows[-1], 1]], [[201, *rows[0][1:]], *rows[1:]]]
    ):
        found.add(open_corpus(write_megatron(tmp_path / f"{number}", changed)).fingerprint)
    corpus = open_corpus(tmp_path / "0")
    assert len(found | {part.fingerprint for part in corpus.split({"a": 0.5, "b": None}).values()}) == 6
    assert corpus.fingerprint == open_corpus(tmp_path / "0").fingerprint
    assert corpus.fingerprint != open_corpus(write_megatron(tmp_path / "9", rows, dtype="int32")).fingerprint


def test_tokens_far_inside_a_large_file_count_by_sample(tmp_path):
    rows = [np.arange(50_000) % 251]
    before = open_corpus(write_megatron(tmp_path / "a", rows)).fingerprint
    rows[0][-1] = 0
    assert open_corpus(write_megatron(tmp_path / "a", rows)).fingerprint != before


def test_a_process_is_told_of_files_that_were_replaced(tmp_path):
    sent = pickle.dumps(open_corpus(write_megatron(tmp_path / "a", ROWS)))
    write_megatron(tmp_path / "a", ROWS[::-1])
    with pytest.raises(StoreChangedError, match="was replaced by other files while it was in use"):
        pickle.loads(sent).lengths  # noqa: B018  # opened when it is first read


def test_records_are_told_by_number(tmp_path):
    corpus = open_corpus(write_megatron(tmp_path / "a", ROWS))
    assert corpus[-1].tolist() == corpus[np.int64(2)].tolist() == [11, 12]
    assert corpus.take([2, 0, 2]).lengths.tolist() == [2, 3, 2]
    assert repr(corpus) == f"MappedCorpus('{tmp_path}/a', Megatron, 3 records)"
    assert corpus.bytes == 12 + 34 + 3 * 12 + 4 * 8
    assert corpus.text(0, "bytes") == "\x07\x08\t"
    with pytest.raises(IndexError, match="record 3 of a corpus with 3 records"):
        corpus[3]
    with pytest.raises(InputError, match=r"record \[1\] of a corpus: give one number"):
        corpus[[1]]
    with pytest.raises(InputError, match="a has no labels: its tokens alone are read"):
        corpus.labels(0)
    with pytest.raises(InputError, match="take needs row numbers from 0 to 2"):
        corpus.take([3])
    with pytest.raises(InputError, match="split shares"):
        corpus.split({"a": 0.9, "b": 0.2})


def test_foreign_files_mix_with_each_other(tmp_path):
    both = mix([(open_corpus(write_megatron(tmp_path / "a", ROWS)), 1), (open_corpus(tmp_path / "a"), 2)])
    batches = list(BucketedDataset(both, batch_size=2))
    assert sorted(record for batch in batches for record in batch.record_ids.tolist()) == [
        0,
        1,
        2,
        3,
        3,
        4,
        4,
        5,
        5,
    ]
    labelled = open_corpus(write_datatrove(tmp_path / "b.ds", ROWS, loss=[[1] * len(row) for row in ROWS]))
    assert set(labelled.columns) == {"labels"}
    with pytest.raises(InputError, match="mix got labels with some corpora and not with others"):
        mix([(labelled, 1), (both, 1)])


def test_a_corpus_refuses_what_every_corpus_does(tmp_path):
    corpus = open_corpus(write_megatron(tmp_path / "a", ROWS))
    with pytest.raises(PlanError):
        BucketedDataset(corpus)
    assert_holds(corpus, ROWS)


def test_files_that_change_under_a_pass_are_told(tmp_path):
    write_megatron(tmp_path / "a", [[7]] * 4000)
    batches = iter(BucketedDataset(open_corpus(tmp_path / "a"), batch_size=1, window=100))
    next(batches)
    with (tmp_path / "a.bin").open("r+b") as file:
        file.truncate(6000)
    with pytest.raises(StoreChangedError, match=r"a.bin has 6000 bytes where it had 8000 while it was read"):
        list(batches)
