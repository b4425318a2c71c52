"""Several stores as one: every array of every record is kept, and no shard is written anew."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from batches import DATASETS
from full_records import LAYOUTS, assert_holds, grow, made, together, write_full
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import contents, gathered, write_store

from fastcollate import TokenStore, merge, mix, prepare

PARTS = [made(20), made(11, seed=1), made(5, seed=2, usual=True)]


@pytest.fixture(params=[None, errno.EXDEV, errno.EPERM, errno.EMLINK])
def linked(request, monkeypatch):
    """Whether the file system has second names for files; if not, for one of several reasons."""

    def refuse(*_, **__):
        raise OSError(request.param, os.strerror(request.param))

    if request.param is not None:
        monkeypatch.setattr(os, "link", refuse)
    return request.param is None


def write_parts(folder, layout="arrow", **options):
    stores = [write_full(folder / f"part-{i}", part, layout=layout, **options) for i, part in enumerate(PARTS)]
    return [store.path for store in stores]


def files_of(store):
    return [store.path / file.name for shard in store.manifest.shards for file in shard.files]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_array_of_every_store_is_kept(tmp_path, layout, linked):
    paths = write_parts(tmp_path, layout)
    store = merge([paths[0], TokenStore(paths[1]), str(paths[2])], tmp_path / "all")
    assert_holds(store, together(*PARTS))
    assert_holds(TokenStore(store.path, verify="full"), together(*PARTS))
    assert {file.stat().st_nlink for file in files_of(store)} == {2 if linked else 1}
    assert sorted(contents(store.path)) == sorted(["manifest.json", *(f.name for f in files_of(store))])
    for path in paths:
        shutil.rmtree(path)
    TokenStore(store.path).verify()


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 9), st.booleans()), min_size=1, max_size=4),
    st.sampled_from(LAYOUTS),
    st.integers(1, 13),
)
def test_stores_of_any_sizes_are_joined_in_any_steps(tmp_path_factory, sizes, layout, records_per_shard):
    folder = tmp_path_factory.mktemp("sizes")
    parts = [made(count, seed=seed, usual=usual) for count, seed, usual in sizes]
    options = {"layout": layout, "records_per_shard": records_per_shard}
    stores = [write_full(folder / str(i), part, **options) for i, part in enumerate(parts)]
    whole = merge(stores, folder / "all")
    assert_holds(whole, together(*parts))
    assert len(whole.manifest.shards) == sum(len(store.manifest.shards) for store in stores)
    first = merge(stores[:2], folder / "first")
    assert contents(merge([first, *stores[2:]], folder / "again").path) == contents(whole.path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bytes_are_those_of_a_writer_that_has_the_same_shards(tmp_path, layout, linked):
    """But for `row_base`: a writer that has all rows at hand counts them in the shards."""
    options = {"records_per_shard": 2, "layout": layout}
    parts = [write_store(tmp_path / name, [3, 1, 2, 2], **options) for name in "ab"]
    mine = merge(parts, tmp_path / "merged").manifest
    written = write_store(tmp_path / "written", [3, 1, 2, 2] * 2, **options).manifest
    assert [shard.row_base for shard in mine.shards] == [0, 0, 4, 4]
    assert replace(mine, shards=[]) == replace(written, shards=[])
    assert contents(tmp_path / "merged").keys() == contents(tmp_path / "written").keys()
    for number, shard in enumerate(mine.shards):
        from_part = parts[number // 2]
        for file, other in zip(shard.files, from_part.manifest.shards[number % 2].files, strict=True):
            assert (file.bytes, file.sha256) == (other.bytes, other.sha256)
            assert (tmp_path / "merged" / file.name).read_bytes() == (from_part.path / other.name).read_bytes()
    assert TokenStore(tmp_path / "merged").manifest.as_bytes == mine.as_bytes


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_over_it_delivers_the_batches_of_all_records(tmp_path, kind):
    lengths = [17, 250, 3, 99, 1] * 30, [8, 120] * 25
    parts = [
        write_store(tmp_path / name, some, spans=True, records_per_shard=40)
        for name, some in zip("ab", lengths, strict=True)
    ]
    written = write_store(tmp_path / "written", lengths[0] + lengths[1], spans=True)
    whole = merge(parts, tmp_path / "all")
    rows = [row.tolist() for part in parts for row in part]
    mine, expected = list(DATASETS[kind](whole)), list(DATASETS[kind](written))
    assert [outline(batch) for batch in mine] == [outline(batch) for batch in expected]
    for batch in mine:
        begins = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
        for row, record, begin in zip(batch, batch.record_ids.tolist(), begins.tolist(), strict=True):
            assert row.tolist() == (rows[record][begin : begin + len(row)] if record >= 0 else [])


def outline(batch):
    spans = [row.tolist() for row in batch.spans]
    return batch.record_ids.tolist(), batch.lengths.tolist(), batch.width, spans


def test_columns_are_kept_through_splits_and_mixtures(tmp_path):
    whole, records = merge(write_parts(tmp_path), tmp_path / "all"), together(*PARTS)
    parts = whole.split({"a": 0.6, "b": None}, seed=1)
    for part in parts.values():
        batch = gathered(part, range(len(part)), sorted(part.columns))
        assert_columns(batch, whole, records, rows_at(part, whole))
    mixture = mix([(parts["a"], 1), (whole, 2)])
    assert mixture.columns == whole.columns
    batch = gathered(mixture, range(len(mixture)), sorted(mixture.columns))
    assert_columns(batch, whole, records, [*rows_at(parts["a"], whole), *range(len(whole)), *range(len(whole))])


def rows_at(part, whole):
    """Which records of the whole a part has: its views lie where theirs do."""
    places = {whole[i].__array_interface__["data"][0]: i for i in range(len(whole))}
    return [places[part[i].__array_interface__["data"][0]] for i in range(len(part))]


def assert_columns(batch, whole, records, chosen):
    words = whole.words("kind")
    assert [words[int(row[0])] for row in batch.columns["kind"]] == [records["kind"][i] for i in chosen]
    assert [row.tolist() for row in batch.columns["score"]] == [[records["score"][i]] for i in chosen]
    for name in ("labels", "weights", "spans"):
        assert [row.tolist() for row in batch.columns[name]] == [records[name][i] for i in chosen]
    assert [row.tolist() for row in batch.tokens] == [records["rows"][i] for i in chosen]


def test_groups_stay_together_and_apart(tmp_path):
    whole, group = merge(write_parts(tmp_path), tmp_path / "all"), together(*PARTS)["group"]
    inside = [i for i in range(1, len(whole)) if group[i] >= 0 and group[i] == group[i - 1]]
    assert len(inside) > 5
    for seed in range(5):
        home = np.empty(len(whole), np.int64)
        for number, part in enumerate(whole.split({"a": 0.5, "b": None}, seed=seed).values()):
            home[rows_at(part, whole)] = number
        assert [i for i in inside if home[i] != home[i - 1]] == []


def test_a_store_may_be_named_twice(tmp_path):
    path = write_full(tmp_path / "a", PARTS[0]).path
    assert_holds(merge([path, path], tmp_path / "twice"), together(PARTS[0], PARTS[0]))


def test_one_store_alone_is_the_same_store(tmp_path):
    path = write_full(tmp_path / "a", PARTS[0], rejected=["empty"]).path
    merge([path], tmp_path / "b")
    assert contents(tmp_path / "b") == contents(path)


def test_lines_on_rejected_records_are_joined(tmp_path):
    reasons = ["empty", "overlong"], ["empty"], []
    stores = [
        write_full(tmp_path / f"{i}", part, rejected=some)
        for i, (part, some) in enumerate(zip(PARTS, reasons, strict=True))
    ]
    (tmp_path / "1/rejected.jsonl").write_bytes((tmp_path / "1/rejected.jsonl").read_bytes().rstrip(b"\n"))
    whole = merge([*stores, stores[0]], tmp_path / "all")
    assert whole.manifest.rejected == {"empty": 3, "overlong": 2}
    assert whole.manifest.noted == {"straddled": 5}
    lines = [json.loads(line) for line in (whole.path / "rejected.jsonl").read_text().splitlines()]
    assert [(line["file"], line["row"]) for line in lines] == [("0", 0), ("0", 1), ("1", 0), ("0", 0), ("0", 1)]
    assert (whole.path / "rejected.jsonl").stat().st_nlink == 1  # lines are added to it in place
    (tmp_path / "0/rejected.jsonl").unlink()
    assert merge(stores[:2], tmp_path / "fewer").manifest.rejected == {"empty": 2, "overlong": 1}


def test_an_earlier_fingerprint_joins_the_records_of_that_time(tmp_path):
    old = write_full(tmp_path / "a", PARTS[0], rejected=["empty"])
    later = write_full(tmp_path / "b", PARTS[1], rejected=["overlong"])
    grow(old.path, later.path)
    with (old.path / "rejected.jsonl").open("ab") as file:
        file.write((later.path / "rejected.jsonl").read_bytes())
    for opened in (old, TokenStore(old.path, fingerprint=old.fingerprint)):
        name = f"of {id(opened)}"
        whole = merge([opened, later], tmp_path / name)
        assert_holds(whole, together(PARTS[0], PARTS[1]))
        assert (whole.path / "rejected.jsonl").read_text().count("\n") == 2
    assert TokenStore(old.path).manifest.as_bytes == whole.manifest.as_bytes  # appended or merged, it is the same
    assert_holds(merge([old.path, later], tmp_path / "all"), together(PARTS[0], PARTS[1], PARTS[1]))


def test_what_was_merged_grows_without_changing_its_sources(tmp_path):
    paths = write_parts(tmp_path, rejected=["empty"])
    before = [contents(path) for path in paths]
    whole = merge(paths[:2], tmp_path / "all")
    grow(whole.path, paths[2])
    with (whole.path / "rejected.jsonl").open("ab") as file:
        file.write(b"{}\n")
    assert_holds(TokenStore(whole.path, verify="full"), together(*PARTS))
    assert_holds(TokenStore(whole.path, fingerprint=whole.fingerprint), together(*PARTS[:2]))
    shutil.rmtree(whole.path)
    assert [contents(path) for path in paths] == before


def test_files_behind_symbolic_links_are_joined_themselves(tmp_path, linked):
    """As a cache of downloads has them: names that lead to files elsewhere."""
    path = write_full(tmp_path / "a", PARTS[0]).path
    (tmp_path / "blobs").mkdir()
    for file in list(path.iterdir()):
        file.rename(tmp_path / "blobs" / file.name)
        file.symlink_to(f"../blobs/{file.name}")
    whole = merge([path, path], tmp_path / "elsewhere/all")
    assert not any(file.is_symlink() for file in whole.path.iterdir())
    shutil.rmtree(path)
    assert_holds(TokenStore(whole.path, verify="full"), together(PARTS[0], PARTS[0]))


def test_what_was_prepared_is_joined(tmp_path):
    texts = ["one", "two", "three"]
    for name in ("a", "b"):
        prepare([{"text": name + text} for text in texts], tmp_path / name, encoding="bytes", template="text")
    whole = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert [whole.text(i) for i in range(6)] == [f"{n}{text}<|endoftext|>" for n in "ab" for text in texts]
    assert [whole.source_row(i) for i in range(6)] == [0, 1, 2, 3, 4, 5]
    assert whole.manifest.template == "text"
