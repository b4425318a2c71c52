"""A store is made in an object store as in a directory, with the same bytes, and one that was begun goes on."""

import json
import tempfile
from pathlib import Path

import pytest
from commands import run
from object_server import CLOUD, settings
from remote_runs import runs_in

from fastcollate import InputError, StorageError, StoreWriteError, prepare
from fastcollate.pretokenize.parts import tasks
from fastcollate.storage.storage import open_storage

pytest.importorskip("obstore", reason=CLOUD)


@pytest.fixture
def runs(monkeypatch, tmp_path, bucket, options):
    """Runs whose source is cut into parts of 4 KiB, and which leave no temporary files."""
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 4096)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield runs_in(tmp_path, bucket, options)
    assert not list(tmp_path.glob("fastcollate-drafts-*"))


@pytest.mark.parametrize(("layout", "workers"), [("arrow", 2), ("npy", 1)])
def test_the_bytes_are_those_of_a_local_run(runs, layout, workers):
    whole = runs.locally(layout=layout)
    runs.url += "/"
    store = runs.prepare(layout=layout, workers=workers)
    assert runs.contents() == whole
    assert len([name for name in whole if "blocks" in name]) > 3
    assert "rejected.jsonl" in whole
    with pytest.raises(StoreWriteError, match=f"^{runs.url[:-1]} already holds a store: remove it or choose"):
        runs.prepare(layout=layout)
    assert runs.contents() == whole
    assert (len(store), store.encoding) == (146, "bytes")


def test_what_is_returned_knows_what_the_manifest_says(tmp_path, runs):
    records = [{"text": "one"}, {"text": "two words"}]
    how = {"encoding": "bytes", "template": "text"}
    here = prepare(records, tmp_path / "s", **how)
    store = prepare(records, runs.url, storage_options=runs.options, **how)
    for name in ("num_tokens", "encoding", "eot_token_id", "fingerprint", "manifest", "has_spans", "columns"):
        assert getattr(store, name) == getattr(here, name)
    assert str(store.path) == runs.url
    assert repr(store) == f"TokenStore('{runs.url}', 2 records, 'bytes')"
    assert [part.tolist() for part in store.length_histogram()] == [[4, 10], [1, 1]]
    assert store.take([1, 0]) == here.take([1, 0])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_stopped_goes_on(runs, workers):
    runs.stop_after(3, workers=workers)
    names = list(runs.there.sizes())
    assert "journal/begun.json" in names
    assert [name for name in names if name.startswith("journal/0")]
    assert not [name for name in names if name.startswith(("shard", "manifest"))]
    done = []
    store = runs.prepare(progress=done.append)
    assert 0 < sum(done) < len(store)
    assert runs.contents() == runs.locally()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 5}, "max_length was None, and is 5 now"),
        ({"layout": "npy"}, "layout was arrow, and is npy now"),
        ({"on_error": "raise"}, "on_error was skip, and is raise now"),
        ({}, r"the source 'a\.jsonl' has changed, or others have come before it"),
        ({"source": [{"text": "1", "kind": "a"}]}, r"the source 'a\.jsonl' has changed"),
    ],
)
def test_another_command_does_not_go_on(runs, change, message):
    runs.stop_after(3)
    before = runs.contents()
    if not change:
        with (runs.source / "a.jsonl").open("a") as file:
            file.write('{"text": "more", "kind": "a"}\n')
    message = f"^{runs.url} holds an unfinished store that was begun otherwise: {message}"
    with pytest.raises(StoreWriteError, match=message) as caught:
        runs.prepare(**change)
    assert "run the former command again to go on with it, or remove the objects" in str(caught.value)
    assert runs.contents() == before


def test_what_was_finished_before_a_bad_record_is_kept(runs):
    with pytest.raises(InputError, match=r"a.jsonl, line 3:"):
        runs.prepare(on_error="raise")
    assert runs.there.sizes() == {}
    text = (runs.source / "a.jsonl").read_text()
    for name in "ab":
        (runs.source / f"{name}.jsonl").write_text('{"text": "good", "kind": "a"}\n' * 200)
    (runs.source / "c.jsonl").write_text(text * 2)
    with pytest.raises(InputError, match=r"c.jsonl, line 3:"):
        runs.prepare(on_error="raise")
    done = []
    store = runs.prepare(progress=done.append)
    assert 0 < sum(done) < len(store)
    assert runs.contents() == runs.locally()


def test_what_is_no_store_is_left_alone(runs, bucket):
    root = open_storage(bucket, runs.options)
    root.put("deep/store/notes.txt", b"1")
    with pytest.raises(StoreWriteError, match=r"already holds 'notes\.txt': a store needs a directory of its own"):
        runs.prepare()
    with pytest.raises(StoreWriteError, match=f"^{runs.url}: nothing can be added to a store in an object store"):
        runs.prepare(append=True)
    assert root.sizes() == {"deep/store/notes.txt": 1}
    runs.url = "ftp://x.org/a"
    with pytest.raises(InputError, match=r"^ftp://x.org/a: cannot be opened as storage"):
        runs.prepare()
    runs.url = "s3://no-such-bucket/store"
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket/store: there is no such bucket"):
        runs.prepare()


def test_a_run_that_finishes_nothing_leaves_nothing(runs):
    runs.stop_after(0)
    assert runs.there.sizes() == {}
    with pytest.raises(InputError, match="holds no usable records"):
        runs.prepare(max_length=1, overlong="drop")
    assert runs.there.sizes() == {}
    records = ({"text": "a" if i < 9000 else 5, "kind": "a"} for i in range(9001))
    with pytest.raises(InputError, match="record 9000"):  # when shards were uploaded
        runs.prepare(records, records_per_shard=3000, on_error="raise")
    assert runs.there.sizes() == {}


def test_the_command_line_takes_settings(runs, server):
    given = ",".join(f"{name}={value}" for name, value in settings(server, timeout=20, max_retries=3).items())
    command = ["prepare", runs.source, "--output", runs.url, "--encoding", "bytes", "--template", "text"]
    command += ["--on-error", "skip", "--keep-columns", "kind", "--storage-options", given]
    code, out, err = run(*command, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["path"] == runs.url
    assert json.loads(out)["records"] == 146
    assert runs.contents() == runs.locally()
    assert not list(Path().glob("s3:*"))
    code, _, err = run(*command, "--json")
    assert (code, err.partition(" already")[0]) == (1, f"fastcollate: {runs.url}")
    assert "no list of setting=value pairs" in run(*command[:-1], "a")[2]
    assert "storage_options['timeout'] is 'a'" in run(*command[:-1], "timeout=a")[2]
