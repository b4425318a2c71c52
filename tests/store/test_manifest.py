"""A manifest is believed only as far as it can be true."""

import pytest
from damage import edit, overwrite

from fastcollate import StoreCorruptError, StoreVersionError, TokenStore

# What the manifest says


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_a_manifest_that_is_not_json_is_corrupt(path, data):
    overwrite(path / "manifest.json", data)
    with pytest.raises(
        StoreCorruptError, match=r"manifest.json is not JSON \(.*restore it or prepare the store again"
    ):
        TokenStore(path)


def test_a_manifest_of_something_else_is_called_that(path):
    overwrite(path / "manifest.json", b'{"format":"other","version":1}')
    with pytest.raises(StoreVersionError, match=r"manifest.json is not a fastcollate manifest"):
        TokenStore(path)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_version_asks_for_the_fastcollate_that_wrote_it(path, version):
    edit(path, lambda content: content.update(version=version))
    with pytest.raises(StoreVersionError, match=rf"has version {version!r}, this fastcollate reads 2: install"):
        TokenStore(path)


def test_a_store_of_version_1_is_prepared_again(path):
    edit(path, lambda content: content.update(version=1))
    with pytest.raises(
        StoreVersionError, match="has version 1, this fastcollate reads 2: prepare the store again"
    ):
        TokenStore(path)


@pytest.mark.parametrize("field", ["encoding", "shards", "lengths", "columns", "noted", "rejected", "has_spans"])
@pytest.mark.parametrize("value", ["text", -1, 1.5, None, [[1]], {"a": "b"}])
def test_a_field_of_another_type_is_named(path, field, value):
    edit(path, lambda content: content.update({field: value}))
    with pytest.raises(StoreCorruptError, match=field.rstrip("s").replace("encoding", "Tokenizer")):
        TokenStore(path)


@pytest.mark.parametrize("field", ["encoding", "dtype", "layout", "shards", "lengths", "template", "rejected"])
def test_a_missing_or_unknown_field_is_named(path, field):
    edit(path, lambda content: content.pop(field))
    with pytest.raises(StoreCorruptError, match=f"fields of Manifest are missing or unknown: {field}"):
        TokenStore(path)
    edit(path, lambda content: content.update({field: None, "extra": 1}))
    with pytest.raises(StoreCorruptError, match="missing or unknown: extra"):
        TokenStore(path)


@pytest.mark.parametrize(("field", "value"), [("records", 1), ("records", 0), ("tokens", 6)])
def test_counts_that_disagree_are_corrupt(path, field, value):
    edit(path, lambda content: content["shards"][0].update({field: value}))
    with pytest.raises(StoreCorruptError, match=r"impossible counts|shards disagree"):
        TokenStore(path)


def test_a_store_without_shards_is_corrupt(path):
    edit(path, lambda content: content.update(shards=[], lengths=[]))
    with pytest.raises(StoreCorruptError, match=r"manifest.json lists no shards: a store has at least one"):
        TokenStore(path)


@pytest.mark.parametrize("lengths", [[], [[1, 5]], [[2, 1], [1, 2], [3, 1], [4, 1]], [[1, 2, 3]]])
def test_a_histogram_of_other_records_is_corrupt(path, lengths):
    edit(path, lambda content: content.update(lengths=lengths))
    with pytest.raises(StoreCorruptError, match=r"length histogram .*; restore the manifest"):
        TokenStore(path)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ({"eot_token_id": 257}, "the end-of-text id is 257 in a vocabulary of 257: ids are below its size"),
        ({"n_vocab": 0, "eot_token_id": None}, "the end-of-text id is None in a vocabulary of 0"),
        ({"n_vocab": 2**16 + 1}, "token ids of a vocabulary of 65537 are uint16: ids have the smallest dtype"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_corrupt(path, encoding, message):
    edit(path, lambda content: content["encoding"].update(encoding))
    with pytest.raises(StoreCorruptError, match=message):
        TokenStore(path, verify="none")


@pytest.mark.parametrize("name", ["input_ids", "offsets", "supervised"])
@pytest.mark.parametrize("move", ["outside", "unaligned", "last but one"])
def test_an_array_lies_inside_its_file_where_its_values_may_begin(path, name, move):
    def move_it(content):
        shard = content["shards"][0]
        file, at, count = shard["places"][name]
        end = shard["files"][file]["bytes"]
        size = {"input_ids": 2, "offsets": 8, "supervised": 4}[name]
        inside = (end - count * size) // size * size
        shard["places"][name][1] = {"outside": 2**62, "unaligned": at + 1, "last but one": inside + size}[move]

    edit(path, move_it)
    with pytest.raises(StoreCorruptError, match=rf"shard 0 has {name} at byte \d+, .*: an array lies inside its"):
        TokenStore(path, verify="none")


def test_an_array_as_long_as_no_file_is_corrupt(path):
    edit(path, lambda content: content["shards"][0]["places"]["spans"].__setitem__(2, 2**61))
    with pytest.raises(StoreCorruptError, match=r"shard 0 has spans at byte \d+"):
        TokenStore(path, verify="none")
