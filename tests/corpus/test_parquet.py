"""Parquet with tokens: read into memory, narrow, and never more of it than is allowed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import (
    assert_holds,
    assert_is_a_corpus,
    assert_uses_labels,
    documents,
    labelled_store_of,
    labels_of,
    store_of,
)

from fastcollate import InputError, LimitError, StoreError, open_corpus
from fastcollate.corpus.formats import parquet

ROWS = documents(60)


def write(path, rows, *, kind=None, row_group_size=11, **columns):
    """A file with a list of tokens for each row, and other columns."""
    arrays = {name: pa.array([np.asarray(row).tolist() for row in column]) for name, column in columns.items()}
    tokens = pa.array([np.asarray(row).tolist() for row in rows], pa.list_(pa.int64()) if kind is None else kind)
    pq.write_table(pa.table({"input_ids": tokens, **arrays}), path, row_group_size=row_group_size)
    return path


def test_it_gives_the_batches_of_a_store(tmp_path):
    rows = documents()
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "train-00000-of-00002.parquet", rows[:90])
    write(folder / "train-00001-of-00002.parquet", rows[90:])
    corpus = open_corpus(folder)
    assert corpus[0].dtype == np.uint16
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_labels_are_used(tmp_path):
    corpus = open_corpus(write(tmp_path / "a.parquet", ROWS, labels=labels_of(ROWS), text=[[0]] * len(ROWS)))
    assert corpus.labels(0).dtype == np.int32
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


def test_what_datasets_writes_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="writes the file of this test")
    datasets.disable_progress_bars()
    columns = {"input_ids": ROWS, "attention_mask": [[1] * len(row) for row in ROWS], "labels": labels_of(ROWS)}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "a.parquet")
    assert_uses_labels(open_corpus(tmp_path / "a.parquet"), labelled_store_of(tmp_path / "store", ROWS))


def test_padding_is_left_out_with_its_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_AT_ONCE", 500)
    rows = [[0] * (100 - len(row)) + row.tolist() for row in ROWS]
    masks = [[0] * (100 - len(row)) + [1] * len(row) for row in ROWS]
    labels = [[-100] * (100 - len(row)) + row.tolist() for row in labels_of(ROWS)]
    corpus = open_corpus(write(tmp_path / "a.parquet", rows, attention_mask=masks, labels=labels))
    assert_holds(corpus, ROWS)
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


@pytest.mark.parametrize(("most", "dtype"), [(2**16 - 1, "uint16"), (2**16, "uint32"), (2**32 - 1, "uint32")])
def test_ids_are_as_narrow_as_the_statistics_allow(tmp_path, most, dtype):
    corpus = open_corpus(write(tmp_path / "a.parquet", [[1], [2, most]], row_group_size=1))
    assert_holds(corpus, [[1], [2, most]])
    assert corpus[0].dtype == dtype


def test_without_statistics_ids_take_four_bytes(tmp_path):
    table = pa.table({"input_ids": [[1, 2], [3]], "labels": [[1, 2], [-100]]})
    pq.write_table(table, tmp_path / "a.parquet", write_statistics=False)
    corpus = open_corpus(tmp_path / "a.parquet")
    assert (corpus[0].dtype, corpus.labels(1).dtype) == (np.uint32, np.int64)
    assert corpus.labels(1).tolist() == [-100]


def test_more_than_memory_may_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", [[1] * 1000] * 100)
    monkeypatch.setattr(parquet, "_MOST_BYTES", 200_000)
    open_corpus(path)
    monkeypatch.setattr(parquet, "_MOST_BYTES", 199_999)
    monkeypatch.setattr(parquet, "_read", None)
    with pytest.raises(LimitError, match=r"Parquet is no format to map: at most .* `fastcollate prepare`"):
        open_corpus(path)


def test_a_folder_of_several_splits_is_refused(tmp_path):
    for name in ("test-00000-of-00001", "train-00000-of-00001"):
        write(tmp_path / f"{name}.parquet", ROWS)
    with pytest.raises(StoreError, match="has the splits test, train: put the files of each into a folder"):
        open_corpus(tmp_path)


def test_labels_in_some_files_only_are_refused(tmp_path):
    write(tmp_path / "a.parquet", ROWS)
    write(tmp_path / "b.parquet", ROWS, labels=ROWS)
    with pytest.raises(StoreError, match="has labels in some of its files and not in others"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"text": ["a"]}), "no column input_ids or tokens, but text"),
        (pa.table({"input_ids": [[1], [-2]]}), "input_ids has values from -2 to 1, which uint16 does not hold"),
        (
            pa.table({"input_ids": [[1], [2**32]]}),
            "input_ids has values from 1 to 4294967296, which uint32 does not",
        ),
        (pa.table({"input_ids": [[1], None]}), r"has nulls in input_ids \(row 1 is one\)"),
        (pa.table({"input_ids": [5]}), "has its input_ids as int64"),
        (pa.table({"input_ids": [[0.5]]}), "has its input_ids as list<element: double>"),
        (pa.table({"input_ids": [[1]], "weights": [[0.5]]}), "weights, which says how much each token is learnt"),
        (pa.table({"input_ids": pa.array([[]], pa.list_(pa.int32()))}), "has no tokens"),
    ],
)
def test_what_is_not_tokens_is_refused(tmp_path, table, said):
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(StoreError, match=said):
        open_corpus(tmp_path / "a.parquet")


def test_a_dtype_is_no_matter_of_parquet(tmp_path):
    with pytest.raises(InputError, match=r"dtype is 'uint16', but .* has int64: leave dtype out"):
        open_corpus(write(tmp_path / "a.parquet", ROWS), dtype="uint16")


def test_a_file_that_is_cut_or_changed_is_refused(tmp_path):
    whole = write(tmp_path / "whole.parquet", ROWS).read_bytes()
    cut = tmp_path / "cut.parquet"
    for size in (4, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"cut\.parquet is not what was written"):
            open_corpus(cut)
    cut.write_bytes(whole[:20] + bytes(len(whole) - 60) + whole[-40:])
    with pytest.raises(StoreError, match=r"cut\.parquet is not what was written"):
        open_corpus(cut)
