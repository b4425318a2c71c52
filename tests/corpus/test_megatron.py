"""Megatron's .bin and .idx, read in place."""

import numpy as np
import pytest
from foreign import assert_holds, assert_is_a_corpus, documents, store_of
from foreign_files import DTYPE_CODES, write_megatron

from fastcollate import InputError, StoreCorruptError, StoreError, StoreVersionError, open_corpus
from fastcollate.corpus.formats.megatron import HEADER, MAGIC

ROWS = [[7, 8, 9], [10], [11, 12]]


def test_it_gives_the_batches_of_a_store(tmp_path):
    rows = documents()
    corpus = open_corpus(write_megatron(tmp_path / "train", rows), eot_token_id=256)
    assert corpus.eot_token_id == 256
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_sequences_may_lie_in_any_order(tmp_path):
    rows = documents()
    order = np.random.default_rng(1).permutation(len(rows))
    corpus = open_corpus(write_megatron(tmp_path / "train", rows, order=order))
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


@pytest.mark.parametrize("name", ["train", "train.bin", "train.idx", ""])
def test_it_is_named_by_either_file_or_both_or_their_folder(tmp_path, name):
    write_megatron(tmp_path / "train", ROWS)
    assert_holds(open_corpus(tmp_path / name), ROWS)


def test_a_name_may_have_dots(tmp_path):
    write_megatron(tmp_path / "pile.v1", ROWS)
    assert_holds(open_corpus(tmp_path / "pile.v1"), ROWS)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16"])
def test_tokens_are_viewed_or_small_ones_copied(tmp_path, dtype):
    corpus = open_corpus(write_megatron(tmp_path / "train", ROWS, dtype=dtype), dtype=dtype)
    assert_holds(corpus, ROWS)
    viewed = {"int32": np.uint32, "int64": np.int64, "uint16": np.uint16, "uint8": np.uint16}
    assert corpus[0].dtype == viewed.get(dtype, np.uint32)
    assert not corpus[0].flags.writeable or dtype in {"uint8", "int8", "int16"}


def test_shards_of_a_folder_are_one_corpus_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write_megatron(tmp_path / f"part_{number}_text", [[number, number], [number]])
    rows = [[1, 1], [1], [2, 2], [2], [10, 10], [10]]
    assert_holds(open_corpus(tmp_path), rows)
    assert_holds(open_corpus(tmp_path / "part_?_text.bin"), rows[:4])
    write_megatron(tmp_path / "code_text", ROWS)
    with pytest.raises(InputError, match=r"of several kinds, code_text.idx and part_\*_text.idx: give a"):
        open_corpus(tmp_path)


def test_a_record_is_a_sequence_and_empty_ones_are_counted(tmp_path):
    corpus = open_corpus(write_megatron(tmp_path / "train", [[7], [], [8, 9], []], sequences=2))
    assert_holds(corpus, [[7], [8, 9]])
    assert corpus.rejected == {"empty": 2}
    assert corpus.layout.noted == {"documents": 2}


def test_modes_of_sequences_may_follow(tmp_path):
    stem = write_megatron(tmp_path / "train", ROWS)
    with (tmp_path / "train.idx").open("ab") as file:
        file.write(bytes(3))
    assert_holds(open_corpus(stem), ROWS)


def header(tmp_path, **changed):
    write_megatron(tmp_path / "train", ROWS)
    fields = {"magic": MAGIC, "version": 1, "code": 8, "sequences": 3, "borders": 4, **changed}
    index = tmp_path / "train.idx"
    index.write_bytes(HEADER.pack(*fields.values()) + index.read_bytes()[HEADER.size :])
    return tmp_path / "train"


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"magic": b"TNTIDX\0\0\0"}, StoreCorruptError, "does not begin as an index of Megatron's does"),
        ({"version": 2}, StoreVersionError, "has version 2 of Megatron's index: version 1 is read"),
        ({"code": 7}, StoreError, "says that its tokens are float32: token ids are integers"),
        ({"code": 9}, StoreError, "says that its tokens are a dtype by the unknown code 9"),
        ({"code": 4}, StoreCorruptError, "row 1 has 1 values from 6 on .*, and the file has 3 of 4 bytes"),
        (
            {"sequences": 2**60},
            StoreCorruptError,
            "where 1152921504606846976 of int32 begin at byte 34",
        ),
        ({"borders": 3}, StoreCorruptError, "8 bytes follow the borders of documents"),
        ({"borders": 5}, StoreCorruptError, "bytes where 5 of int64 begin at byte 70"),
    ],
)
def test_a_wrong_header_is_told(tmp_path, changed, kind, message):
    with pytest.raises(kind, match=message):
        open_corpus(header(tmp_path, **changed))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(3, 0), (1, 6), (2, 2**63 - 2)], r"row 2 has 2 values from 9223372036854775806 on \(in bytes\)"),
        ([(3, 0), (1, -2), (2, 8)], "row 1 has 1 values from -2 on"),
        ([(-3, 0), (1, 6), (2, 8)], "row 0 has -3 values from 0 on"),
        ([(3, 0), (1, 7), (2, 8)], "row 1 has 1 values from 7 on"),
        ([(3, 0), (1, 6), (3, 8)], "row 2 has 3 values from 8 on .*, and the file has 6 of 2 bytes"),
        ([(2**31 - 1, 0), (1, 6), (2, 8)], "row 0 has 2147483647 values"),
    ],
)
def test_nothing_is_read_outside(tmp_path, rows, message):
    write_megatron(tmp_path / "train", ROWS)
    index = tmp_path / "train.idx"
    lengths, places = np.array([r[0] for r in rows], np.int32), np.array([r[1] for r in rows], np.int64)
    data = index.read_bytes()
    index.write_bytes(data[:34] + lengths.tobytes() + places.tobytes() + data[34 + 36 :])
    with pytest.raises(StoreCorruptError, match=message):
        open_corpus(tmp_path / "train")


def test_missing_and_other_tokens_are_told(tmp_path):
    write_megatron(tmp_path / "train", ROWS)
    with pytest.raises(InputError, match=r"dtype is 'uint32', but .*train.idx has uint16: leave dtype out"):
        open_corpus(tmp_path / "train", dtype="uint32")
    (tmp_path / "train.bin").unlink()
    with pytest.raises(StoreCorruptError, match=r"train.bin is missing: restore it"):
        open_corpus(tmp_path / "train")
    write_megatron(tmp_path / "none", [[], []])
    with pytest.raises(StoreError, match="none has no tokens: there is nothing to train on"):
        open_corpus(tmp_path / "none")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that megatron-core does without, and its own
@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_what_megatron_core_writes_is_read(tmp_path, dtype):
    megatron = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="needs megatron-core")
    import torch

    rows = documents(40)
    builder = megatron.IndexedDatasetBuilder(str(tmp_path / "m.bin"), dtype=np.dtype(dtype).type)
    for row in rows:
        builder.add_document(torch.from_numpy(row), [len(row)])
    builder.finalize(str(tmp_path / "m.idx"))
    builder.data_file.close()
    write_megatron(tmp_path / "ours", rows, dtype=dtype)
    for ending in (".bin", ".idx"):
        assert (tmp_path / f"ours{ending}").read_bytes() == (tmp_path / f"m{ending}").read_bytes()
    assert_holds(open_corpus(tmp_path / "m"), [row.tolist() for row in rows])
    assert {kind.name: kind.value for kind in megatron.DType} == DTYPE_CODES
