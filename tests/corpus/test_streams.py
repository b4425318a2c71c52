"""Streams of tokens that have no index: llm.c, nanoGPT, NumPy's and OLMo's files."""

import numpy as np
import pytest
from foreign import assert_holds, assert_is_a_corpus, documents, store_of
from foreign_files import write_llm_c, write_olmo

from fastcollate import InputError, StoreCorruptError, StoreError, StoreVersionError, open_corpus

END = 256
ROWS = [[7, 8, 9], [10], [11, 12]]
MAGICS = [
    {"magic": 20240520, "version": 1, "dtype": "uint16"},
    {"magic": 20240801, "version": 7, "dtype": "uint32"},
]


def bare(path, tokens, dtype="uint16"):
    np.asarray(tokens).astype(dtype).tofile(path)
    return path


def ended(rows, end=END):
    return [[*row, end] for row in rows]


def begun(rows, end=END):
    return [[end, *row] for row in rows]


@pytest.mark.parametrize("header", MAGICS, ids=["gpt2", "llama3"])
def test_a_shard_of_llm_c_gives_the_batches_of_a_store(tmp_path, header):
    rows = [np.append(END, row) for row in documents()]
    corpus = open_corpus(write_llm_c(tmp_path / "a.bin", np.concatenate(rows), **header), eot_token_id=END)
    assert corpus[0].dtype == header["dtype"]
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_bare_tokens_give_the_batches_of_a_store(tmp_path):
    rows = documents(end=END)
    path = bare(tmp_path / "train.bin", np.concatenate(rows))
    corpus = open_corpus(path, dtype="uint16", eot_token_id=END)
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


@pytest.mark.parametrize("gap", [0, 3])
def test_olmo_with_its_table_gives_the_batches_of_a_store(tmp_path, gap):
    rows = documents()
    path = write_olmo(tmp_path / "part-0-00000.npy", rows, gap=gap)
    corpus = open_corpus(path, dtype="uint16" if gap else None)
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_shards_are_one_stream_cut_at_the_same_end_of_documents(tmp_path):
    stream = np.concatenate(begun(ROWS))
    write_llm_c(tmp_path / "fineweb_train_000001.bin", stream[:6])
    write_llm_c(tmp_path / "fineweb_train_000002.bin", stream[6:])
    cut = [[END, 7, 8, 9], [END, 10], [END, 11, 12]]
    assert_holds(open_corpus(tmp_path / "fineweb_train_*.bin", eot_token_id=END), cut)
    write_llm_c(tmp_path / "fineweb_train_000001.bin", stream[:7])
    write_llm_c(tmp_path / "fineweb_train_000002.bin", stream[7:])
    cut = [[END, 7, 8, 9], [END, 10], [END], [11, 12]]
    assert_holds(open_corpus(tmp_path, eot_token_id=END), cut)
    write_llm_c(tmp_path / "fineweb_val_000000.bin", stream)
    with pytest.raises(InputError, match=r"fineweb_train_\*.bin and fineweb_val_\*.bin: give a pattern"):
        open_corpus(tmp_path, eot_token_id=END)
    assert len(open_corpus(tmp_path / "fineweb_val_000000.bin", eot_token_id=END)) == 3


@pytest.mark.parametrize(
    ("tokens", "in_llm_c", "bare_cut"),
    [
        (np.concatenate(begun(ROWS)), begun(ROWS), begun(ROWS)),
        (np.concatenate(ended(ROWS)), ended(ROWS), ended(ROWS)),
        ([7, END, 8], [[7], [END, 8]], [[7, END], [8]]),
        ([END, END, 8, END], [[END], [END, 8], [END]], [[END], [END], [8, END]]),
    ],
)
def test_an_end_token_stays_with_its_document(tmp_path, tokens, in_llm_c, bare_cut):
    assert_holds(open_corpus(write_llm_c(tmp_path / "a.bin", tokens), eot_token_id=END), in_llm_c)
    found = open_corpus(bare(tmp_path / "b.bin", tokens), dtype="uint16", eot_token_id=END)
    assert_holds(found, bare_cut)


@pytest.mark.parametrize("name", ["a.bin", "a.npy"])
def test_nothing_is_guessed(tmp_path, name):
    path = bare(tmp_path / name, [7, 0])
    with pytest.raises(InputError, match=r"name the dtype of its tokens as dtype=\.\.\."):
        open_corpus(path, eot_token_id=0)
    with pytest.raises(InputError, match="does not say where its documents end: name the token that ends them"):
        open_corpus(path, dtype="uint16")
    with pytest.raises(InputError, match="has no token 50256 at which its documents could be cut"):
        open_corpus(path, dtype="uint16", eot_token_id=50256)
    with pytest.raises(InputError, match="dtype is 'float16': it must be one of uint8, uint16"):
        open_corpus(path, dtype="float16", eot_token_id=0)
    with pytest.raises(InputError, match="eot_token_id is -1: it must be an integer, at least 0"):
        open_corpus(path, dtype="uint16", eot_token_id=-1)
    with pytest.raises(StoreCorruptError, match="its 4 bytes are no whole number of uint64"):
        open_corpus(path, dtype="uint64", eot_token_id=0)


@pytest.mark.parametrize(
    ("written", "kind", "message"),
    [
        ({"count": 3}, StoreCorruptError, "it has 4 tokens where its header has 3"),
        ({"version": 2}, StoreVersionError, "has version 2 of .* shards of uint16: version 1 is read"),
        ({"magic": 20240522}, StoreError, "holds questions for an evaluation"),
        ({"magic": 20240801, "version": 7}, StoreCorruptError, "it has 2 tokens where its header has 4"),
    ],
)
def test_a_wrong_header_of_llm_c_is_told(tmp_path, written, kind, message):
    with pytest.raises(kind, match=message):
        open_corpus(write_llm_c(tmp_path / "a.bin", [7, 0, 8, 0], **written), eot_token_id=0)


def test_a_shard_among_others_is_checked_too(tmp_path):
    write_llm_c(tmp_path / "0.bin", [7, 0])
    bare(tmp_path / "1.bin", np.full(900, 5))
    with pytest.raises(StoreCorruptError, match=r"1.bin .*it begins with 327685, which no shard of llm.c does"):
        open_corpus(tmp_path, eot_token_id=0)
    write_llm_c(tmp_path / "1.bin", [7, 0])
    (tmp_path / "1.bin").write_bytes((tmp_path / "1.bin").read_bytes()[:1000])
    with pytest.raises(StoreCorruptError, match="it has 1000 bytes where 256 of int32 begin at byte 0"):
        open_corpus(tmp_path, eot_token_id=0)


def test_a_file_of_numpy_says_its_dtype_itself(tmp_path):
    np.save(tmp_path / "edufineweb_train_000001.npy", np.concatenate(begun(ROWS)).astype(np.uint16))
    corpus = open_corpus(tmp_path, eot_token_id=END)
    assert_holds(corpus, begun(ROWS))
    np.save(tmp_path / "edufineweb_train_000001.npy", np.zeros((3, 3), np.uint16))
    with pytest.raises(StoreCorruptError, match=r"it holds uint16 of 2 dimension\(s\), and tokens are flat"):
        open_corpus(tmp_path, eot_token_id=END)
    np.save(tmp_path / "edufineweb_train_000001.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(StoreCorruptError, match="it holds object of 1"):
        open_corpus(tmp_path, eot_token_id=END)


def test_olmos_table_must_be_of_the_file(tmp_path):
    path = write_olmo(tmp_path / "part-0.npy", ROWS)
    assert_holds(open_corpus(path), ROWS)
    assert_holds(open_corpus(write_olmo(path, ROWS, dtype="uint32")), ROWS)
    write_olmo(tmp_path / "part-1.npy", [[5]])
    assert_holds(open_corpus(tmp_path), [*ROWS, [5]])
    (tmp_path / "part-1.csv.gz").unlink()
    with pytest.raises(StoreCorruptError, match=r"part-1.npy .*no part-1.csv.gz beside it, and part-0.csv.gz is"):
        open_corpus(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(StoreCorruptError, match="it has 22 bytes where its table ends at token 6"):
        open_corpus(path)
    with pytest.raises(StoreCorruptError, match=r"part-0.npy .*its 22 bytes are no whole"):
        open_corpus(path, dtype="uint32")
    (tmp_path / "part-0.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(StoreCorruptError, match=r"part-0.csv.gz .*its lines cannot be read"):
        open_corpus(path)
