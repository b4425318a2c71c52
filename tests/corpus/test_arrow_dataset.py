"""Arrow files and streams, and the folders that `datasets` saves, read in place."""

import json

import numpy as np
import pyarrow as pa
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

from fastcollate import InputError, StoreError, UnsafeStoreError, open_corpus
from fastcollate.storage.local import map_file

ROWS = documents(60)


def table_of(rows, kind=None, **columns):
    """A table of tokens, and of other columns with a list for each row."""
    kind = pa.list_(pa.int32()) if kind is None else kind
    arrays = {name: pa.array([np.asarray(row).tolist() for row in column]) for name, column in columns.items()}
    return pa.table({"input_ids": pa.array([np.asarray(row).tolist() for row in rows], kind), **arrays})


def write_stream(path, table, *, batch_rows=7):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


def write_file(path, table, *, batch_rows=7, compression=None):
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A function that saves a table as `datasets` does, after a change."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="writes the files of this test")
    datasets.disable_progress_bars()

    def save(table, change=lambda dataset: dataset, **options):
        change(datasets.Dataset(table)).save_to_disk(tmp_path / "saved", **options)
        return tmp_path / "saved"

    return save


def test_a_saved_data_set_gives_the_batches_of_a_store(saved, tmp_path):
    rows = documents()
    corpus = open_corpus(saved(table_of(rows), num_shards=3))
    assert len(corpus.layout.pieces) == 3
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_labels_are_used(saved, tmp_path):
    corpus = open_corpus(saved(table_of(ROWS, labels=labels_of(ROWS))))
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


def test_a_shuffled_selection_is_saved_as_it_is(saved):
    corpus = open_corpus(saved(table_of(ROWS), lambda dataset: dataset.select([5, 2, 9]).shuffle(seed=1)))
    assert sorted(row.tolist() for row in corpus) == sorted(ROWS[i].tolist() for i in (5, 2, 9))


def test_columns_that_the_data_set_does_not_show_are_not_read(saved):
    table = table_of(ROWS, labels=labels_of(ROWS), position_ids=ROWS)
    shown = ["input_ids"]
    corpus = open_corpus(saved(table, lambda dataset: dataset.with_format("numpy", columns=shown)))
    assert_holds(corpus, ROWS)
    assert corpus.columns == {}
    state = corpus.path / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "_output_all_columns": True}))
    with pytest.raises(StoreError, match="a column position_ids, which says that records hold several documents"):
        open_corpus(corpus.path)


def test_a_folder_of_splits_names_them(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(StoreError, match="has the splits train, test: give one of them"):
        open_corpus(tmp_path)


def test_an_indices_mapping_is_never_passed_over(saved):
    path = saved(table_of(ROWS))
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(StoreError, match=r"has an indices mapping, .*flatten_indices"):
        open_corpus(path)


def test_a_file_elsewhere_is_not_followed(saved):
    path = saved(table_of(ROWS))
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../secret.arrow"}]}))
    with pytest.raises(UnsafeStoreError, match=r"names '../../secret\.arrow', which is no plain name"):
        open_corpus(path)


@pytest.mark.parametrize("write", [write_stream, write_file])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.list_(pa.int32()), "uint32"),
        (pa.list_(pa.uint16()), "uint16"),
        (pa.large_list(pa.uint32()), "uint32"),
        (pa.list_(pa.int64()), "uint32"),
        (pa.large_list(pa.int16()), "uint32"),
    ],
)
def test_any_lists_of_integers_in_many_record_batches_are_read(tmp_path, write, kind, dtype):
    path = write(tmp_path / "a.arrow", table_of(ROWS, kind))
    corpus = open_corpus(path)
    assert_holds(corpus, ROWS)
    assert corpus[0].dtype == dtype
    assert corpus.at_epoch(0, 0).copies == (kind.value_type in (pa.int64(), pa.int16()))


def test_nothing_is_copied(tmp_path, monkeypatch):
    maps = []
    monkeypatch.setattr(
        "fastcollate.corpus.mapped.mapped_files.map_file", lambda path: maps.append(map_file(path)) or maps[-1]
    )
    corpus = open_corpus(write_stream(tmp_path / "a.arrow", table_of(ROWS, labels=labels_of(ROWS))))
    assert np.shares_memory(corpus[17], maps[0].data)
    assert np.shares_memory(corpus.labels(17), maps[0].data)


def test_lists_of_one_length_are_read(tmp_path):
    rows = np.arange(60).reshape(10, 6)
    corpus = open_corpus(
        write_stream(tmp_path / "a.arrow", table_of(rows, pa.list_(pa.uint16(), 6)), batch_rows=3)
    )
    assert_holds(corpus, rows.tolist())


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_left_out_with_its_labels(tmp_path, side):
    def padded(row, fill):
        gap = [fill] * (100 - len(row))
        return [*row, *gap] if side == "right" else [*gap, *row]

    table = table_of(
        [padded(row, 0) for row in ROWS],
        attention_mask=[padded([1] * len(row), 0) for row in ROWS],
        labels=[padded(row, -100) for row in labels_of(ROWS)],
    )
    corpus = open_corpus(write_stream(tmp_path / "a.arrow", table))
    assert_holds(corpus, ROWS)
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


def test_a_row_of_padding_is_counted(tmp_path):
    table = table_of([[1, 2], [0, 0], []], attention_mask=[[1, 1], [0, 0], []])
    corpus = open_corpus(write_stream(tmp_path / "a.arrow", table))
    assert_holds(corpus, [[1, 2]])
    assert corpus.rejected == {"empty": 2}


def test_a_hole_in_a_mask_is_no_padding(tmp_path):
    masks = [[1] * 3] * 9 + [[1, 0, 1]]
    table = table_of([[1, 2, 3]] * 10, attention_mask=masks)
    with pytest.raises(StoreError, match="row 9 has a 0 in attention_mask between two tokens"):
        open_corpus(write_stream(tmp_path / "a.arrow", table))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"text": ["a"]}), "no column input_ids or tokens, but text"),
        (pa.table({"input_ids": [[1]], "tokens": [[1]]}), "both input_ids and tokens: keep one"),
        (pa.table({"input_ids": [[1]], "completion_mask": [[1]]}), "completion_mask, which says which tokens are"),
        (pa.table({"input_ids": [[1], None]}), r"has nulls in input_ids \(row 1 is one\)"),
        (pa.table({"input_ids": [[1], [2, None]]}), r"has nulls in input_ids \(a row from row 0 on has one\)"),
        (pa.table({"input_ids": [[1.5]]}), "has its input_ids as list<item: double>: they must be lists of"),
        (pa.table({"input_ids": [[[1]]]}), "has its input_ids as list<item: list"),
        (pa.table({"input_ids": [5]}), "has its input_ids as int64"),
        (pa.table({"input_ids": [[True]]}), "has tokens of bool: they must be integers"),
        (pa.table({"input_ids": [[1, 2]], "labels": [[1]]}), "row 0 has 1 labels for 2 tokens"),
        (pa.table({"input_ids": [[1, 2]], "attention_mask": [[1]]}), "row 0 has 1 attention_mask for 2 tokens"),
        (pa.table({"input_ids": [[1, 2]], "attention_mask": [[1, 2]]}), "other numbers than 0 and 1"),
        (pa.table([[[1]], [[2]]], names=["input_ids", "input_ids"]), "two of its columns have one name"),
        (pa.table({"input_ids": pa.array([[]], pa.list_(pa.int32()))}), "has no tokens"),
    ],
)
def test_what_is_not_tokens_is_refused(tmp_path, table, said):
    with pytest.raises(StoreError, match=said):
        open_corpus(write_stream(tmp_path / "a.arrow", table))


@pytest.mark.parametrize("bad", [-7, 2**32])
def test_a_number_that_is_no_id_is_told_with_its_row(tmp_path, bad):
    corpus = open_corpus(write_stream(tmp_path / "a.arrow", table_of([[1], [2], [3, bad]], pa.list_(pa.int64()))))
    with pytest.raises(StoreError, match=f"row 2 has the token id {bad}: token ids are numbered from 0"):
        corpus[2]


def test_a_dtype_that_is_not_the_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"dtype is 'uint16', but .* has int32"):
        open_corpus(write_stream(tmp_path / "a.arrow", table_of(ROWS)), dtype="uint16")


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_what_is_compressed_inside_is_named(tmp_path, compression):
    table = table_of([[7] * 1000] * 10)
    with pytest.raises(StoreError, match="is compressed inside, as Feather is by default, and cannot be mapped"):
        open_corpus(write_file(tmp_path / "a.feather", table, compression=compression))


@pytest.mark.parametrize("write", [write_stream, write_file])
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path, write):
    whole = write(tmp_path / "whole.arrow", table_of(ROWS[:20])).read_bytes()
    cut = tmp_path / "cut.arrow"
    for size in [*range(0, len(whole), 97), *range(len(whole) - 20, len(whole))]:
        cut.write_bytes(whole[:size])
        with pytest.raises(StoreError):
            open_corpus(cut)


def test_what_comes_behind_the_end_of_a_stream_is_not_passed_over(tmp_path):
    path = write_stream(tmp_path / "a.arrow", table_of(ROWS))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(StoreError, match="its stream has no end mark, or goes on behind it, at byte"):
        open_corpus(path)


@pytest.mark.parametrize("write", [write_stream, write_file])
def test_bytes_that_changed_are_refused_or_read_within_the_file(tmp_path, write):
    rows = documents(12, seed=5)
    whole = bytearray(write(tmp_path / "whole.arrow", table_of(rows)).read_bytes())
    changed = tmp_path / "changed.arrow"
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(whole), 150).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        changed.write_bytes(damaged)
        try:
            sum(len(row) for row in open_corpus(changed))
        except StoreError as error:
            assert "changed.arrow" in str(error)  # noqa: PT017
