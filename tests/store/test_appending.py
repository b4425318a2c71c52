"""One manifest of two stores, and the earlier one kept beside it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken
from full_records import assert_holds, grow, made, together, write_full

from fastcollate import (
    Ragged,
    StorageError,
    StoreWriteError,
    StoreWriter,
    TokenStore,
)
from fastcollate.store.appending import appended, keep_manifest, rows_of
from fastcollate.store.manifest import kept_name

FIRST, SECOND = made(20), made(11, seed=1)


def listed(path):
    return sorted(file.name for file in path.iterdir() if file.name.startswith("manifest"))


# Keeping


def test_keeping_a_manifest_twice_changes_nothing(tmp_path):
    store = write_full(tmp_path / "s", FIRST)
    for _ in range(2):
        keep_manifest(store.path, store.manifest)
    kept = store.path / kept_name(store.fingerprint)
    assert kept.read_bytes() == (store.path / "manifest.json").read_bytes()
    assert TokenStore(store.path).fingerprint == store.fingerprint
    assert listed(store.path) == [kept.name, "manifest.json"]


def test_it_is_on_the_disk_when_it_is_kept(tmp_path, monkeypatch):
    store = write_full(tmp_path / "s", FIRST)
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink()), fsync(fd)))
    keep_manifest(store.path, store.manifest)
    assert synced == [store.path / f"{kept_name(store.fingerprint)}.tmp", store.path]
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(StorageError, match="Input/output error"):
        keep_manifest(store.path, store.manifest)


# Joining manifests


def test_rows_count_on_from_the_largest_one(tmp_path):
    with StoreWriter(tmp_path / "s", encoding="bytes", records_per_shard=2) as writer:
        writer.append(Ragged.from_rows([[1], [2], [3], [4]]), source_rows=[9, 7, 0, 3])
    store = TokenStore(tmp_path / "s")
    assert rows_of(store) == 10
    whole = grow(tmp_path / "s", shutil.copytree(tmp_path / "s", tmp_path / "again"))
    assert [whole.source_row(i) for i in range(8)] == [9, 7, 0, 3, 19, 17, 10, 13]
    assert (rows_of(whole), rows_of(TokenStore(store.path, fingerprint=store.fingerprint))) == (20, 10)


def test_more_rows_than_a_manifest_can_count_are_refused(tmp_path):
    with StoreWriter(tmp_path / "s", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([[1]]), source_rows=[2**63 - 1])
    store = TokenStore(tmp_path / "s")
    with pytest.raises(StoreWriteError, match=f"{2**63} rows of the source come before .* to {2**63 - 1} at most"):
        appended(store.manifest, store.manifest, rows=rows_of(store))


def test_counts_are_added_and_templates_that_differ_are_none(tmp_path):
    one = write_full(tmp_path / "a", FIRST, rejected=["empty", "overlong"]).manifest
    two = write_full(tmp_path / "b", SECOND, rejected=["empty"]).manifest
    whole = appended(one, two, rows=60)
    assert (whole.rejected, whole.noted, whole.template) == ({"empty": 2, "overlong": 1}, {"straddled": 3}, "mine")
    assert appended(one, replace(two, template="other"), rows=60).template is None
    assert appended(one, replace(two, template=None), rows=60).template is None


@pytest.mark.parametrize("swapped", [False, True])
def test_weights_and_groups_may_be_absent_in_one(tmp_path, swapped):
    parts = [made(20, usual=True), SECOND]
    first, second = parts[::-1] if swapped else parts
    write_full(tmp_path / "s", first)
    write_full(tmp_path / "b", second)
    whole = grow(tmp_path / "s", tmp_path / "b")
    assert {"weights", "group"} <= whole.columns.keys()
    assert_holds(whole, together(first, second))


OTHER = tiktoken.Encoding(
    "other",
    pat_str=r"(?s:.)",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={"<|endoftext|>": 100_000},
)


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        (
            {"encoding": OTHER},
            {},
            "encoding.name is 'bytes' in the one and 'other' in the other: prepare both with",
        ),
        (
            {"layout": "npy"},
            {},
            "layout is 'arrow' in the one and 'npy' in the other: prepare one of them again in",
        ),
        (
            {},
            {"kind": [1]},
            "columns.kind is string per record in the one and int64 per record in the other: prep",
        ),
        ({}, {}, r"columns.kind is string per record in the one and absent in the other: .*\(keep_columns\)"),
        ({}, {"kind": ["a"], "more": [1]}, "columns.more is absent in the one and int64 per record in the other"),
        (
            {"spans": None},
            {"kind": ["a"]},
            "has_spans is True in the one and False in the other: give spans to all",
        ),
    ],
)
def test_stores_that_do_not_go_together_are_refused_by_field(tmp_path, options, columns, message):
    spans = options.pop("spans", Ragged.from_rows([[0, 1]]))
    with StoreWriter(tmp_path / "a", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([[1]]), Ragged.from_rows([[0, 1]]), columns={"kind": ["a"]})
    with StoreWriter(tmp_path / "b", **{"encoding": "bytes", **options}) as writer:
        writer.append(Ragged.from_rows([[1]]), spans, columns=columns)
    one, two = (TokenStore(tmp_path / name).manifest for name in "ab")
    with pytest.raises(StoreWriteError, match=message):
        appended(one, two, rows=1)


@pytest.mark.parametrize(("field", "value"), [("sha256", "0" * 64), ("n_vocab", 300), ("eot_token_id", None)])
def test_all_that_makes_an_encoding_must_agree(tmp_path, field, value):
    one = write_full(tmp_path / "a", FIRST).manifest
    two = replace(one, encoding=replace(one.encoding, **{field: value}))
    with pytest.raises(StoreWriteError, match=rf"encoding.{field} is .* in the one and '?{value}'? in the other"):
        appended(one, two, rows=1)
