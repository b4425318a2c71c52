"""MDS, the shards of MosaicML's Streaming, read in place."""

import hashlib
import json

import numpy as np
import pytest
from damage import overwrite
from foreign import (
    assert_holds,
    assert_is_a_corpus,
    assert_uses_labels,
    documents,
    labelled_store_of,
    labels_of,
    store_of,
)

from fastcollate import BucketedDataset, InputError, StoreCorruptError, StoreError, UnsafeStoreError, open_corpus

ROWS = documents(60)
CODES = {
    "uint8": 8,
    "int8": 9,
    "uint16": 16,
    "uint32": 32,
    "int32": 33,
    "float32": 34,
    "uint64": 64,
    "int64": 65,
}


def encoded(array, encoding):
    """An array as Streaming encodes it: its dtype and shape, unless the encoding names them, and its values."""
    kind, _, settings = encoding.partition(":")
    dtype, _, shape = settings.partition(":")
    if kind != "ndarray":
        return array if isinstance(array, bytes) else array.tobytes()
    size = max(array.shape)
    width = next(width for width in range(4) if size < 1 << (8 << width))
    head = b"" if dtype else bytes([CODES[str(array.dtype)]])
    if not shape:
        head += bytes([array.ndim << 2 | width]) + np.array(array.shape, f"<u{1 << width}").tobytes()
    return head + array.tobytes()


def fixed_size(encoding):
    _, _, shape = encoding.partition(":")[2].partition(":")
    return int(shape) * np.dtype(encoding.split(":")[1]).itemsize if shape else {"int": 8}.get(encoding)


def write(folder, columns, samples, *, hashes=(), per_shard=25):
    """Shards in the format as it is described; a test compares them with those of Streaming's own writer."""
    folder.mkdir()
    names = sorted(columns)
    config = {
        "column_encodings": [columns[name] for name in names],
        "column_names": names,
        "column_sizes": [fixed_size(columns[name]) for name in names],
        "compression": None,
        "format": "mds",
        "hashes": list(hashes),
        "size_limit": None,
        "version": 2,
    }
    copy, shards = json.dumps(config, sort_keys=True).encode(), []
    for first in range(0, len(samples), per_shard):
        bodies = [sample_bytes(sample, columns) for sample in samples[first : first + per_shard]]
        edges = np.cumsum([4 * (len(bodies) + 2) + len(copy), *map(len, bodies)]).astype(np.uint32)
        data = np.uint32(len(bodies)).tobytes() + edges.tobytes() + copy + b"".join(bodies)
        name = f"shard.{len(shards):05d}.mds"
        (folder / name).write_bytes(data)
        digests = {kind: hashlib.new(kind, data).hexdigest() for kind in hashes}
        raw = {"basename": name, "bytes": len(data), "hashes": digests}
        shards.append({**config, "raw_data": raw, "samples": len(bodies), "zip_data": None})
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}, sort_keys=True))
    return folder


def sample_bytes(sample, columns):
    parts = {name: encoded(sample[name], columns[name]) for name in sorted(columns)}
    sizes = [len(part) for name, part in parts.items() if fixed_size(columns[name]) is None]
    return np.array(sizes, np.uint32).tobytes() + b"".join(parts.values())


def edit(folder, change):
    index = folder / "index.json"
    content = json.loads(index.read_text())
    change(content["shards"][0])
    index.write_text(json.dumps(content))
    return folder


def as_samples(rows, dtype, name="tokens"):
    return [{name: np.asarray(row, dtype)} for row in rows]


def with_labels(rows):
    return [
        {"input_ids": row.astype(np.uint16), "labels": label}
        for row, label in zip(rows, labels_of(rows), strict=True)
    ]


def test_ours_are_the_bytes_of_streamings_own_writer(tmp_path):
    try:
        from streaming import MDSWriter
    except (ImportError, RuntimeError) as error:  # what it imports may be broken
        pytest.skip(f"needs mosaicml-streaming: {error}")
    for number, (columns, samples) in enumerate(
        [
            ({"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32)),
            ({"tokens": "ndarray"}, as_samples([*ROWS, np.arange(70_000) % 9], np.uint16)),
            ({"tokens": "ndarray:int64:3"}, as_samples([[1, 2, 3], [4, 5, 6]], np.int64)),
            ({"tokens": "bytes", "n": "int"}, [{"tokens": b"ab", "n": 3}]),
            ({"input_ids": "ndarray", "labels": "ndarray:int64"}, with_labels(ROWS)),
        ]
    ):
        with MDSWriter(
            out=str(tmp_path / "theirs" / str(number)), columns=columns, size_limit=None, hashes=["sha1"]
        ) as writer:
            for sample in samples:
                writer.write(sample)
        same = [{**sample, **({"n": np.int64(3)} if "n" in sample else {})} for sample in samples]
        ours = write(tmp_path / str(number), columns, same, hashes=["sha1"], per_shard=1000)
        for file in (tmp_path / "theirs" / str(number)).iterdir():
            assert (ours / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("encoding", ["ndarray:int32", "ndarray"])
def test_it_gives_the_batches_of_a_store(tmp_path, encoding):
    rows = documents()
    corpus = open_corpus(write(tmp_path / "mds", {"tokens": encoding}, as_samples(rows, np.int32), per_shard=100))
    assert len(corpus.layout.pieces) == 3
    assert_is_a_corpus(corpus, store_of(tmp_path / "store", rows))


def test_labels_are_used(tmp_path):
    columns = {"input_ids": "ndarray", "labels": "ndarray:int64"}
    corpus = open_corpus(write(tmp_path / "mds", columns, with_labels(ROWS)))
    assert_uses_labels(corpus, labelled_store_of(tmp_path / "store", ROWS))


def test_arrays_of_any_length_and_dtype_are_read(tmp_path):
    rows = [[1], np.arange(300) % 9, np.arange(70_000) % 9]
    for dtype in ("uint8", "int8", "uint16", "uint32", "int64", "uint64"):
        corpus = open_corpus(write(tmp_path / dtype, {"tokens": "ndarray"}, as_samples(rows, dtype)))
        assert_holds(corpus, rows)
    fixed = open_corpus(
        write(tmp_path / "fixed", {"tokens": "ndarray:uint16:3"}, as_samples([[1, 2, 3]] * 9, "uint16"))
    )
    assert_holds(fixed, [[1, 2, 3]] * 9)


def test_the_dtype_of_bytes_is_asked_for(tmp_path):
    folder = write(tmp_path / "mds", {"tokens": "bytes"}, as_samples(ROWS, np.int64))
    with pytest.raises(InputError, match=r"has its tokens as bytes, .*: name it, such as dtype='int64'"):
        open_corpus(folder)
    assert_holds(open_corpus(folder, dtype="int64"), ROWS)
    with pytest.raises(InputError, match=r"dtype is 'uint16', but .* has int32"):
        open_corpus(write(tmp_path / "b", {"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32)), dtype="uint16")


def test_a_negative_label_is_told_with_its_row(tmp_path):
    samples = [{"input_ids": np.array([1, 2]), "labels": np.array([-100, label])} for label in (2, -5)]
    columns = {"input_ids": "ndarray:int64", "labels": "ndarray:int64"}
    corpus = open_corpus(write(tmp_path / "mds", columns, samples))
    with pytest.raises(StoreError, match="row 1 has the label -5: a label is a token id, or -100"):
        corpus.labels(1)


@pytest.mark.parametrize(
    ("columns", "sample", "said"),
    [
        ({"tokens": "pkl"}, {"tokens": b"cos\nsystem"}, "has its tokens as 'pkl': .* nothing unpickled"),
        ({"tokens": "json"}, {"tokens": b"[1]"}, "has its tokens as 'json'"),
        ({"tokens": "ndarray:float32"}, {"tokens": np.ones(2, np.float32)}, r"as ndarray:float32 \(float32\)"),
        ({"tokens": "ndarray"}, {"tokens": np.ones(2, np.float32)}, r"as ndarray \(no integers\)"),
        (
            {"tokens": "ndarray:int32"},
            {"tokens": np.ones((2, 2), np.int32)},
            "tokens that are not one-dimensional",
        ),
        ({"text": "str"}, {"text": b"a"}, "no column input_ids or tokens, but text"),
        (
            {"tokens": "bytes", "loss_mask": "bytes"},
            {"tokens": b"", "loss_mask": b""},
            "a column loss_mask, which",
        ),
    ],
)
def test_what_is_not_tokens_is_refused(tmp_path, columns, sample, said):
    with pytest.raises(StoreError, match=said):
        open_corpus(write(tmp_path / "mds", columns, [sample]))


def test_arrays_of_several_dtypes_are_refused(tmp_path):
    samples = [{"tokens": np.ones(2, dtype)} for dtype in ("uint16", "int32")]
    with pytest.raises(StoreError, match=r"has its tokens as ndarray \(several dtypes\)"):
        open_corpus(write(tmp_path / "mds", {"tokens": "ndarray"}, samples))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda shard: shard.update(format="json"), "has shards of format 'json', version 2: those of MDS"),
        (lambda shard: shard.update(version=3), "has shards of format 'mds', version 3"),
        (lambda shard: shard.update(raw_data=None), "a shard has no raw_data"),
        (lambda shard: shard["raw_data"].update(bytes=7), "bytes where its index has 7"),
        (lambda shard: shard["raw_data"].update(basename="b.mds"), r"b\.mds is missing"),
        (lambda shard: shard.update(samples=7), "it has 25 samples where its index has 7"),
        (lambda shard: shard.update(column_names=None), "its index names no columns"),
        (lambda shard: shard.update(column_sizes=[8]), "its sample 0 has columns of other sizes than its own"),
        (lambda shard: shard.update(column_sizes=[10**30]), "a size of a column that is none"),
        (
            lambda shard: shard.update(column_encodings=["ndarray:int64"]),
            "has tokens of another size than it says",
        ),
    ],
)
def test_an_index_that_is_not_its_shards_is_refused(tmp_path, change, said):
    folder = write(tmp_path / "mds", {"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32))
    with pytest.raises(StoreError, match=said):
        open_corpus(edit(folder, change))


@pytest.mark.parametrize("hashes", [["sha1"], ["shake_128", "md5"]])
def test_a_shard_that_has_not_its_hash_ends_no_epoch(tmp_path, hashes):
    folder = write(tmp_path / "mds", {"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32), hashes=hashes[-1:])
    edit(folder, lambda shard: shard["raw_data"]["hashes"].update({"xxh64": "0", "shake_128": "0"}))
    corpus = open_corpus(folder)
    assert len(corpus.at_epoch(0, 0).unverified()) == 3
    assert len(list(BucketedDataset(corpus, batch_size=8))) == 8
    assert corpus.at_epoch(0, 0).unverified() == []
    shard = folder / "shard.00001.mds"
    overwrite(shard, shard.read_bytes()[:-1] + b"x")
    batches = iter(BucketedDataset(open_corpus(folder), batch_size=8))
    with pytest.raises(StoreCorruptError, match=r"00001\.mds has changed .*: its (sha1|md5) is not"):
        list(batches)


def test_a_file_elsewhere_is_not_followed(tmp_path):
    folder = write(tmp_path / "mds", {"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32))
    with pytest.raises(UnsafeStoreError, match=r"names '/etc/passwd', which is no plain name"):
        open_corpus(edit(folder, lambda shard: shard["raw_data"].update(basename="/etc/passwd")))


def test_a_shard_that_is_there_compressed_is_named(tmp_path):
    folder = write(tmp_path / "mds", {"tokens": "ndarray:int32"}, as_samples(ROWS, np.int32))
    (folder / "shard.00000.mds").rename(folder / "shard.00000.mds.zstd")
    packed = {"basename": "shard.00000.mds.zstd", "bytes": 9, "hashes": {}}
    edit(folder, lambda shard: shard.update(zip_data=packed, compression="zstd:7"))
    with pytest.raises(StoreError, match=r"is there only compressed, as shard\.00000\.mds\.zstd, .* \(zstd\)"):
        open_corpus(folder)


def test_shards_that_are_cut_or_changed_are_refused_or_read_within_the_file(tmp_path):
    folder = write(
        tmp_path / "mds",
        {"tokens": "ndarray", "more": "bytes"},
        [{**sample, "more": b"abc"} for sample in as_samples(ROWS[:20], np.int32)],
    )
    shard = folder / "shard.00000.mds"
    whole = shard.read_bytes()
    for size in range(0, len(whole), 331):
        shard.write_bytes(whole[:size])
        with pytest.raises(StoreError):
            open_corpus(folder)
        edit(folder, lambda entry, size=size: entry["raw_data"].update(bytes=size))
        with pytest.raises(StoreError):
            open_corpus(folder)
        edit(folder, lambda entry: entry["raw_data"].update(bytes=len(whole)))
    rng = np.random.default_rng(3)
    for place in [*range(100), *rng.integers(0, len(whole), 100).tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        shard.write_bytes(damaged)
        try:
            sum(len(row) for row in open_corpus(folder))
        except StoreError as error:
            assert shard.name in str(error)  # noqa: PT017
