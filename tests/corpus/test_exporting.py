"""Stores as the files of other programs: what these open, or their own bytes."""

import numpy as np
import pytest
from foreign import assert_holds, documents, store_of
from foreign_files import write_megatron
from stores import contents, write_store

from fastcollate import (
    InputError,
    LimitError,
    Ragged,
    StoreWriteError,
    StoreWriter,
    TokenStore,
    export,
    open_corpus,
)
from fastcollate.corpus.exports import exporting, to_hugging_face
from fastcollate.tokenizers.tokenizer import Tokenizer


def test_megatrons_files_are_those_of_its_own_writer(tmp_path):
    """Its bytes, as `write_megatron` makes them, which is held to Megatron's own builder."""
    rows = documents()
    store = store_of(tmp_path / "store", rows)
    made = export(store, tmp_path / "out")
    assert made == tmp_path / "out" / "text_document"
    (tmp_path / "own").mkdir()
    write_megatron(tmp_path / "own" / "text_document", rows)
    assert contents(tmp_path / "out") == contents(tmp_path / "own")
    assert_holds(open_corpus(made), [row.tolist() for row in rows])


@pytest.mark.parametrize(("vocabulary", "dtype"), [(65_499, np.uint16), (65_500, np.uint32), (70_000, np.uint32)])
def test_megatron_decides_the_dtype_by_the_vocabulary(tmp_path, vocabulary, dtype):
    store = store_with_vocabulary(tmp_path / "store", [[1, vocabulary - 1], [2]], vocabulary)
    corpus = open_corpus(export(store, tmp_path / "out", format="megatron"))
    assert_holds(corpus, [[1, vocabulary - 1], [2]])
    assert corpus[0].dtype == dtype


def store_with_vocabulary(path, rows, size):
    tokenizer = Tokenizer.from_callable(lambda text: [ord(text[0])], vocab_size=size, eot_token_id=0)
    with StoreWriter(path, encoding=tokenizer) as writer:
        writer.append(Ragged.from_rows(rows))
    return TokenStore(path)


@pytest.mark.parametrize("spans", [False, True])
@pytest.mark.parametrize("view", [False, True])
def test_hugging_face_opens_what_is_exported(tmp_path, monkeypatch, spans, view):
    datasets = pytest.importorskip("datasets", reason="needs the extra peers")
    monkeypatch.setattr(exporting, "_AT_ONCE", 50)
    monkeypatch.setattr(to_hugging_face, "_FILE_BYTES", 600)
    whole = write_store(tmp_path / "store", [3, 1, 60, 4, 90, 5, 5, 2], records_per_shard=3, spans=spans)
    store = whole.split({"a": 0.5, "b": None}, seed=1)["b"] if view else whole
    made = export(store, tmp_path / "out", format="huggingface")
    found = datasets.load_from_disk(str(made))
    assert found["input_ids"] == [row.tolist() for row in store]
    assert found.column_names == ["input_ids", *(["labels"] if spans else [])]
    assert view or len(found.cache_files) == 2
    if spans:
        wanted = [[-100] * (len(row) // 2) + row[len(row) // 2 :].tolist() for row in store]
        assert found["labels"] == wanted
    opened = open_corpus(tmp_path / "out")
    assert_holds(opened, [row.tolist() for row in store])
    assert set(opened.columns) == ({"labels"} if spans else set())


def test_given_labels_go_before_spans(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the extra peers")
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        labels = Ragged.from_rows([[-100, 2, -100], [7]])
        writer.append(
            Ragged.from_rows([[1, 2, 3], [7]]), Ragged.from_rows([[0, 3], []]), columns={"labels": labels}
        )
    found = datasets.load_from_disk(str(export(tmp_path / "store", tmp_path / "out", format="huggingface")))
    assert found["labels"] == [[-100, 2, -100], [7]]


def test_what_has_no_place_is_told(tmp_path, caplog):
    store = write_store(tmp_path / "store", [3, 2], spans=True)
    export(store, tmp_path / "out")
    assert caplog.messages == [f"{tmp_path}/out: the format megatron has no place for spans: left out"]


def test_the_same_store_gives_the_same_bytes(tmp_path):
    store = write_store(tmp_path / "store", [3, 2], spans=True)
    for name in ("a", "b"):
        export(store, tmp_path / name, format="huggingface")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_progress_counts_records(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_AT_ONCE", 6)
    counts = []
    export(write_store(tmp_path / "store", [3, 3, 9, 1]), tmp_path / "out", progress=counts.append)
    assert counts == [2, 1, 1]


@pytest.mark.parametrize("format", ["megatron", "huggingface"])
def test_an_export_is_whole_or_not_there(tmp_path, monkeypatch, format):  # noqa: A002
    store = write_store(tmp_path / "store", [3, 3, 9, 1])
    monkeypatch.setattr(exporting, "_AT_ONCE", 6)

    def fail(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "out", format=format, progress=fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]
    (tmp_path / "out").mkdir()
    export(store, tmp_path / "out", format=format)
    before = contents(tmp_path / "out")
    with pytest.raises(StoreWriteError, match=r"out already holds .*: an export needs a directory of its own"):
        export(store, tmp_path / "out", format=format)
    assert contents(tmp_path / "out") == before


def test_wrong_arguments_are_told(tmp_path):
    store = write_store(tmp_path / "store", [3, 3])
    (tmp_path / "file").touch()
    with pytest.raises(StoreWriteError, match="file is a file: an export is a directory"):
        export(store, tmp_path / "file")
    with pytest.raises(StoreWriteError, match="s3://bucket/out: an export is written to a local disk"):
        export(store, "s3://bucket/out")
    with pytest.raises(InputError, match="format is 'mds': it must be 'megatron' or 'huggingface'"):
        export(store, tmp_path / "out", format="mds")
    with pytest.raises(InputError, match="export got a list: give it a TokenStore"):
        export([store], tmp_path / "out")
    large = store_with_vocabulary(tmp_path / "large", [[1]], 2**31 + 1)
    for name in ("megatron", "huggingface"):
        with pytest.raises(LimitError, match="2147483649"):
            export(large, tmp_path / "out", format=name)
