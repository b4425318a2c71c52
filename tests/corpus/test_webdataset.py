"""WebDataset's tars of NumPy arrays, read in place."""

import io
import tarfile

import numpy as np
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

from fastcollate import InputError, StoreError, open_corpus

ROWS = documents(60)


def write_tar(path, rows, *, dtype=np.uint16, labels=None, name="npy"):
    """A tar as WebDataset's own writer makes it."""
    webdataset = pytest.importorskip("webdataset", reason="writes the files of this test")
    with webdataset.TarWriter(str(path)) as tar:
        for number, row in enumerate(rows):
            sample = {"__key__": f"{number:06d}", name: np.asarray(row, dtype), "json": {"row": number}}
            tar.write(sample if labels is None else {**sample, "labels.npy": np.asarray(labels[number])})
    return path


def write_members(path, members):
    """A tar of members as bytes, by name."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_it_gives_the_batches_of_a_store(tmp_path):
    rows = documents()
    write_tar(tmp_path / "shard-2.tar", rows[:100])
    write_tar(tmp_path / "shard-10.tar", rows[100:])
    corpus = open_corpus(tmp_path)
    assert np.shares_memory(corpus[3], corpus[3])
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_labels_are_used(tmp_path):
    corpus = open_corpus(write_tar(tmp_path / "a.tar", ROWS, labels=labels_of(ROWS), name="input_ids.npy"))
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_ids_of_any_integers_are_read(tmp_path, dtype):
    corpus = open_corpus(write_tar(tmp_path / "a.tar", documents(20, most=120), dtype=dtype))
    assert_holds(corpus, documents(20, most=120))
    assert corpus[0].dtype == {"uint8": "uint16"}.get(dtype, "uint32")


def test_a_negative_id_is_told_with_its_row(tmp_path):
    corpus = open_corpus(write_tar(tmp_path / "a.tar", [[1, 2], [3, -4]], dtype=np.int64))
    assert corpus[0].tolist() == [1, 2]
    with pytest.raises(StoreError, match="row 1 has the token id -4: token ids are numbered from 0"):
        corpus[1]


def test_a_pickle_is_never_opened(tmp_path):
    path = write_members(tmp_path / "a.tar", [("0.npy", npy(np.array([{}, 1]), allow_pickle=True))])
    with pytest.raises(StoreError, match=r"its member 0\.npy is object, .* nothing is unpickled"):
        open_corpus(path)


A = npy(np.array([1, 2], np.uint16))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("0.npy", A), ("1.json", b"{}")], "no column input_ids or tokens, but none at all"),
        ([("0.npy", A), ("0.input_ids.npy", A)], "the record 0 has an array twice"),
        (
            [("0.npy", A), ("0.attention_mask.npy", A)],
            "a column attention_mask, which says which tokens are padding",
        ),
        ([("0.npy", A), ("0.loss_mask.npy", A)], "a column loss_mask, which says which tokens are learnt"),
        (
            [("0.npy", A), ("0.labels.npy", A), ("1.npy", A)],
            "some records have labels, and others, such as 1, have",
        ),
        ([("0.npy", A), ("0.labels.npy", npy(np.array([1])))], "row 0 has 1 labels for 2 tokens"),
        ([("0.npy", A), ("1.npy", npy(np.array([1, 2])))], "has arrays of"),
        ([("0.npy", npy(np.array([[1, 2]])))], "0.npy is int64, or has not one dimension"),
        ([("0.npy", npy(np.array([1.0])))], "0.npy is float64"),
        ([("0.npy", npy(np.array([1], ">u2")))], "0.npy is >u2"),
        ([("0.npy", b"no array")], "0.npy is no array of NumPy's"),
        ([("0.npy", A[:-1])], "0.npy has another size than its header says"),
        ([("0.npy", A.replace(b"(2,)", b"(3,)"))], "0.npy has another size than its header says"),
        ([("0.npy", A.replace(b"'shape'", b"open(1)"))], "0.npy has a damaged header"),
        ([("0.npy", A[:40])], "0.npy has a damaged header"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, members, said):
    with pytest.raises(StoreError, match=said):
        open_corpus(write_members(tmp_path / "a.tar", members))


def test_an_empty_tar_among_others_is_named(tmp_path):
    write_members(tmp_path / "1.tar", [("0.npy", A)])
    write_members(tmp_path / "2.tar", [])
    with pytest.raises(StoreError, match=r"2\.tar has no record: it is an empty tar"):
        open_corpus(tmp_path)


def test_a_dtype_that_is_not_the_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"dtype is 'uint32', but .* has uint16"):
        open_corpus(write_members(tmp_path / "a.tar", [("0.npy", A)]), dtype="uint32")


def test_a_compressed_tar_is_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.npy"), io.BytesIO())
    with pytest.raises(StoreError, match="is compressed, and can be mapped only as it is: decompress it"):
        open_corpus(tmp_path / "a.tar.gz")


def test_a_tar_that_is_cut_anywhere_is_refused(tmp_path):
    whole = write_members(tmp_path / "whole.tar", [("0.npy", A), ("1.npy", A)]).read_bytes()
    cut = tmp_path / "cut.tar"
    for size in range(0, 2560 - 512, 256):
        cut.write_bytes(whole[:size])
        with pytest.raises(StoreError):
            open_corpus(cut)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_are_read_in_each_kind_of_tar(tmp_path, kind):
    folder = "a" * 80 + "/" + "b" * 60
    with tarfile.open(tmp_path / "a.tar", "w", format=kind, pax_headers={"comment": "a"}) as tar:
        inner = tarfile.TarInfo("a" * 80)
        inner.type = tarfile.DIRTYPE
        tar.addfile(inner)
        for number in range(3):
            longer = "ü" * 200 if number == 2 and kind != tarfile.USTAR_FORMAT else ""
            info = tarfile.TarInfo(f"{folder}/{longer}{number}.npy")
            info.size = len(A)
            tar.addfile(info, io.BytesIO(A))
    assert_holds(open_corpus(tmp_path / "a.tar"), [[1, 2]] * 3)


def test_a_link_is_no_record(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("0.npy")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(StoreError, match=r"its member 0\.npy is a link, sparse or no file"):
        open_corpus(tmp_path / "a.tar")


def test_a_damaged_header_is_no_end(tmp_path):
    whole = write_members(tmp_path / "whole.tar", [("0.npy", A), ("1.npy", A)]).read_bytes()
    for damaged in (whole[:1024] + b"x" + whole[1025:], whole + whole):
        (tmp_path / "a.tar").write_bytes(damaged)
        with pytest.raises(StoreError, match="has neither a member nor the end of a tar"):
            open_corpus(tmp_path / "a.tar")
