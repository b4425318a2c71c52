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
    with pytest.raises(StoreCorruptError, match=r"impossible counts|shards disagree|swapped or changed"):
        TokenStore(path)


@pytest.mark.parametrize("lengths", [[], [[1, 5]], [[2, 1], [1, 2], [3, 1], [4, 1]], [[1, 2, 3]]])
def test_a_histogram_of_other_records_is_corrupt(path, lengths):
    edit(path, lambda content: content.update(lengths=lengths))
    with pytest.raises(StoreCorruptError, match=r"length histogram .*; restore the manifest"):
        TokenStore(path)
