"""litData's chunks, read in place."""

import json

import numpy as np
import pytest
import torch
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

ROWS = documents(60)


def write(folder, items, *, tokens_loader=False, chunk_bytes=4000, **options):
    """Chunks as litData's own writer makes them."""
    reason = "writes the files of this test"
    pytest.importorskip("litdata", reason=reason)
    from litdata.streaming.item_loader import TokensLoader
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir()
    loader = {"item_loader": TokensLoader(block_size=8)} if tokens_loader else {}
    writer = BinaryWriter(str(folder), chunk_bytes=chunk_bytes, **loader, **options)
    for number, item in enumerate(items):
        writer.add_item(number, item)
    writer.done()
    writer.merge()
    return folder


def edit(folder, change):
    index = folder / "index.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "make", [lambda row: torch.from_numpy(row.astype(np.int32)), lambda row: row.astype(np.uint16)]
)
def test_items_of_a_tokens_loader_give_the_batches_of_a_store(tmp_path, make):
    rows = documents()
    corpus = open_corpus(write(tmp_path / "lit", map(make, rows), tokens_loader=True))
    assert len(corpus.layout.pieces) > 3
    assert not corpus.at_epoch(0, 0).copies
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


@pytest.mark.parametrize("dtype", ["uint16", "int64"])
def test_arrays_in_dicts_are_read_with_their_labels(tmp_path, dtype):
    items = [
        {"text": "?" * len(row), "input_ids": row.astype(dtype), "labels": label}
        for row, label in zip(ROWS, labels_of(ROWS), strict=True)
    ]
    corpus = open_corpus(write(tmp_path / "lit", items))
    assert corpus.at_epoch(0, 0).copies
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))
    assert_is_a_corpus(corpus, labelled_store_of(tmp_path / "same", ROWS))


@pytest.mark.parametrize(
    "make", [lambda row: row, lambda row: [torch.from_numpy(row)], lambda row: {"more": {"tokens": row}}]
)
def test_the_only_array_of_an_item_is_its_tokens(tmp_path, make):
    if isinstance(make(ROWS[0]), dict):
        with pytest.raises(StoreError, match=r"no column input_ids or tokens, but more\.tokens"):
            open_corpus(write(tmp_path / "lit", map(make, ROWS)))
        return
    assert_holds(open_corpus(write(tmp_path / "lit", map(make, ROWS))), ROWS)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"input_ids": {1, 2}}, "has its input_ids as 'pickle'.* nothing is unpickled"),
        ({"input_ids": np.ones((2, 2), np.int64)}, "has its input_ids as 'numpy': .* one-dimensional arrays"),
        ({"input_ids": [1, 2, 3]}, "has its input_ids as 'json'"),
        ({"input_ids": np.ones(2)}, "has its input_ids as 'no_header_numpy:10'"),
        ([np.ones(2, int), np.ones(2, int)], "no column input_ids or tokens, but 0, 1"),
        ({"input_ids": np.ones(2, int), "attention_mask": np.ones(2, int)}, "a column attention_mask"),
        ({"input_ids": np.ones(2, int), "labels": np.ones(3, int)}, "row 0 has 3 labels for 2 tokens"),
    ],
)
def test_what_is_not_tokens_is_refused(tmp_path, item, said):
    with pytest.raises(StoreError, match=said):
        open_corpus(write(tmp_path / "lit", [item]))


def test_a_pickle_beside_the_tokens_is_never_opened(tmp_path):
    items = [{"input_ids": row, "more": {1, 2, len(row)}} for row in ROWS]
    assert_holds(open_corpus(write(tmp_path / "lit", items)), ROWS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index["config"].update(compression="zstd"), r"has chunks with compression \('zstd'\)"),
        (lambda index: index["config"].update(encryption={"algorithm": "fernet"}), "has chunks with encryption"),
        (lambda index: index["config"].update(item_loader="ParquetLoader"), "is for a 'ParquetLoader'"),
        (lambda index: index["config"].update(data_spec="[1"), "its data_spec is no tree"),
        (lambda index: index["config"].update(data_spec=f"[1, {'[' * 5000}"), "its data_spec is no tree"),
        (lambda index: index["config"].update(data_format=["a", "b"]), "it has 1 leaves, and kinds of others"),
        (lambda index: index.update(config=None), "it has no config"),
        (lambda index: index.update(chunks=[]), "its chunks are no list of objects"),
        (lambda index: index["chunks"][0].update(chunk_size=9), "it has .* samples where its index has 9"),
        (lambda index: index["chunks"][0].update(dim=9), "it has not the 9 tokens that its index says"),
        (lambda index: index["chunks"][0].update(filename="chunk-7.bin"), r"chunk-7\.bin is missing"),
    ],
)
def test_an_index_that_is_not_its_chunks_is_refused(tmp_path, change, said):
    folder = write(tmp_path / "lit", map(torch.from_numpy, ROWS), tokens_loader=True)
    with pytest.raises(StoreError, match=said):
        open_corpus(edit(folder, change))


def test_a_file_elsewhere_is_not_followed(tmp_path):
    folder = write(tmp_path / "lit", map(torch.from_numpy, ROWS), tokens_loader=True)
    with pytest.raises(UnsafeStoreError, match=r"names '\.\./secret', which is no plain name"):
        open_corpus(edit(folder, lambda index: index["chunks"][0].update(filename="../secret")))


def test_a_dtype_that_is_not_the_files_is_refused(tmp_path):
    folder = write(tmp_path / "lit", map(torch.from_numpy, ROWS), tokens_loader=True)
    with pytest.raises(InputError, match=r"dtype is 'uint16', but .* has int64"):
        open_corpus(folder, dtype="uint16")


@pytest.mark.parametrize("tokens_loader", [True, False])
def test_chunks_that_are_cut_or_changed_are_refused_or_read_within_the_file(tmp_path, tokens_loader):
    folder = write(tmp_path / "lit", ROWS[:20], tokens_loader=tokens_loader, chunk_bytes=1 << 20)
    (chunk,) = folder.glob("*.bin")
    whole = chunk.read_bytes()
    for size in range(0, len(whole), 331):
        chunk.write_bytes(whole[:size])
        with pytest.raises(StoreError):
            open_corpus(folder)
    rng = np.random.default_rng(3)
    for place in rng.integers(0, 200, 100).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        chunk.write_bytes(damaged)
        try:
            sum(len(row) for row in open_corpus(folder))
        except StoreError as error:
            assert chunk.name in str(error)  # noqa: PT017
