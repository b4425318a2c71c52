"""Objects as sources: the records, notes, parts and messages that the same files on this machine have."""

import gzip
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_server import BUSY, DENIED, settings
from reading import content

from fastcollate.errors import InputError, StorageError
from fastcollate.pretokenize.run import prepare
from fastcollate.sources.files import FileSource
from fastcollate.sources.paths import labels
from fastcollate.sources.resolve import find_sources
from fastcollate.sources.source import part_chunks, read_chunks
from fastcollate.storage.storage import open_storage

WORDS = np.random.default_rng(2).integers(0, 1000, (40_000, 6)).tolist()
ROWS = [{"text": " ".join(map(str, words))} for words in WORDS]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def as_parquet(rows):
    out = io.BytesIO()
    columns = {"text": [row["text"] for row in rows], "n": list(range(len(rows)))}
    pq.write_table(pa.table(columns), out, row_group_size=5000, compression="none")
    return out.getvalue()


def as_arrow(rows, make=pa.ipc.new_file):
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with make(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=5000)
    return out.getvalue()


FILES = {
    "a.jsonl": LINES,
    "b.jsonl.zst": pa.compress(LINES, "zstd", asbytes=True),
    "c.json.gz": gzip.compress(json.dumps(ROWS[:1000]).encode(), 1),
    "d.parquet": as_parquet(ROWS),
    "e.arrow": as_arrow(ROWS),
    "f.arrows": as_arrow(ROWS[:9000], pa.ipc.new_stream),
    "g.csv": b"text,n\n" + b"".join(f"{row['text']},{i}\n".encode() for i, row in enumerate(ROWS[:1000])),
    "h.txt": b"\n".join(row["text"].encode() for row in ROWS[:1000]),
    "i.parquet.gz": gzip.compress(as_parquet(ROWS[:100]), 1),
}


@pytest.fixture
def both(bucket, options, tmp_path):
    """A function that puts files into a folder and into a prefix, and returns both."""

    def put(files):
        storage = open_storage(f"{bucket}/data", options)
        for name, data in files.items():
            storage.put(name, data)
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return str(tmp_path / "data"), f"{bucket}/data"

    return put


def read(source, options=None, **more):
    return [content(chunk) for chunk in read_chunks(find_sources(source, storage_options=options).sources, **more)]


@pytest.mark.parametrize("name", FILES)
def test_an_object_is_read_as_a_file_is_and_in_the_same_parts(both, options, name):
    folder, prefix = both({name: FILES[name]})
    here, there = FileSource(f"{folder}/{name}"), FileSource(f"{prefix}/{name}", storage_options=options)
    assert read(f"{folder}/{name}") == read(f"{prefix}/{name}", options)
    parts = here.parts(300_000)
    assert there.parts(300_000) == parts
    assert (len(parts) > 3) == (name in ("a.jsonl", "d.parquet", "e.arrow"))
    for part in parts[:1] + parts[2:4] + parts[-1:]:
        chunks = [list(part_chunks(source, part, size=4096, skip=False, alone=True)) for source in (here, there)]
        assert [content(chunk) for chunk in chunks[0]] == [content(chunk) for chunk in chunks[1]]
        ours, theirs = ([chunk.origin.at(0) for chunk in some] for some in chunks)
        assert theirs == [at.replace(folder, prefix) for at in ours]


def test_prefixes_patterns_and_objects_stand_for_what_folders_and_globs_do(both, options):
    names = (
        "a.jsonl",
        "x/b.jsonl",
        "x/y/c.jsonl",
        "x/.h.jsonl",
        ".git/d.jsonl",
        "README.md",
        "LICENSE.txt",
        "z.csv",
    )
    folder, prefix = both(dict.fromkeys(names, b'{"a": 1}\n') | {"z.csv": b"a,b\n1,2\n"})
    for tail in (
        "",
        "/",
        "/x",
        "/*.jsonl",
        "/*/*.jsonl",
        "/**/*.jsonl",
        "/x/[ab].jsonl",
        "/?.jsonl",
        "/x/.*",
        "/**",
    ):
        here, there = find_sources(folder + tail), find_sources(prefix + tail, storage_options=options)
        assert [source.name for source in there.sources] == [
            source.name.replace(folder, prefix) for source in here.sources
        ]
        assert there.notes == [note.replace(folder, prefix) for note in here.notes]
        assert list(labels(there.found).values()) == list(labels(here.found).values())
    only = find_sources(prefix, format="csv", storage_options=options)
    assert [source.name for source in only.sources] == [f"{prefix}/z.csv"]
    several = find_sources([f"{prefix}/a.jsonl", f"{folder}/a.jsonl"], storage_options=options)
    assert [source.name for source in several.sources] == [f"{prefix}/a.jsonl", f"{folder}/a.jsonl"]


def test_a_whole_bucket_is_a_source(bucket, options):
    open_storage(bucket, options).put("a b#1%.jsonl", b'{"a": 1}\n')
    for url in (bucket, f"{bucket}/", f"{bucket}/*"):
        (source,) = find_sources(url, storage_options=options).sources
        assert source.name == f"{bucket}/a b#1%.jsonl"
        assert read(url, options) == [([0], [{"a": 1}], {})]


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("/no.jsonl", "there is no such object, and no object below it: check the URL"),
        ("/no/*.jsonl", "no object matches this pattern: check the URL"),
        ("/other", "no file of records is in this folder (it has a.png)"),
    ],
)
def test_nothing_is_an_error(bucket, options, tail, message):
    open_storage(bucket, options).put("other/a.png", b"1")
    with pytest.raises(InputError) as caught:
        find_sources(bucket + tail, storage_options=options)
    assert str(caught.value).startswith(f"{bucket}{tail}: {message}")
    assert (caught.value.reason, caught.value.path) == ("not_found", bucket + tail)
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket(/a)?: there is no such bucket"):
        find_sources("s3://no-such-bucket/a", storage_options=options)


def test_a_fingerprint_changes_with_the_object(bucket, options):
    storage = open_storage(bucket, options)
    storage.put("a.jsonl", b'{"a": 1}\n')
    source = FileSource(f"{bucket}/a.jsonl", storage_options=options)
    before = source.fingerprint()
    assert source.fingerprint() == before != FileSource(source.name, "json", storage_options=options).fingerprint()
    storage.put("a.jsonl", b'{"a": 2}\n')
    assert source.fingerprint() != before
    storage.delete("a.jsonl")
    with pytest.raises(StorageError, match="there is no such object any longer"):
        source.fingerprint()
    with pytest.raises(StorageError, match="there is no such object"):
        list(source.chunks(source.parts(1)[0], size=1, skip=True))


def test_a_source_goes_to_another_process_and_shows_no_secret(options):
    source = FileSource("s3://bucket/a", storage_options=options | {"secret": "hush"})
    assert "hush" not in repr(source)
    assert pickle.loads(pickle.dumps(source)).storage_options["secret"] == "hush"


@pytest.mark.parametrize("name", ["a.jsonl", "d.parquet"])
def test_a_part_is_read_without_the_rest(both, before, name):
    data = FILES["a.jsonl"] * 4 if name == "a.jsonl" else as_parquet(ROWS * 4)
    _, prefix = both({name: data})
    proxy = before(lambda *_: None)
    source = FileSource(f"{prefix}/{name}", storage_options=settings(proxy.address))
    part = source.parts(1_000_000)[1]
    before_it = proxy.sent
    (first, *_) = source.chunks(part, size=4096, skip=False)
    assert first.records[0]["text"] in LINES.decode()
    assert len(data) > 4_000_000
    assert proxy.sent - before_it < 2_600_000


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.zst", "d.parquet", "e.arrow"])
@pytest.mark.parametrize("skip", [False, True])
def test_a_server_that_fails_is_no_bad_record(both, before, name, skip):
    """Nothing is passed over: the next try may succeed."""
    _, prefix = both({name: FILES[name], "other.jsonl": b'{"a": 1}\n'})
    answers = iter([None] * (1 if name == "b.jsonl.zst" else 2))
    proxy = before(lambda _, request: next(answers, DENIED) if b"range:" in request else None)
    options = settings(proxy.address, timeout=1)
    with pytest.raises(StorageError, match=f"{name}: the server refuses the credentials"):
        read(prefix, options, skip=skip)


def test_prepare_gives_the_same_store_from_a_busy_server(both, before, tmp_path):
    rows = {
        f"part-{i}.jsonl": b"".join(LINES.splitlines(keepends=True)[i * 500 : (i + 1) * 500]) for i in range(3)
    }
    folder, prefix = both(rows | {"part-3.jsonl": b'{"text": 7}\nnothing\n'})
    proxy = before(lambda number, _: BUSY if number % 3 == 1 else None)
    options = settings(proxy.address, timeout=20)
    how = {"encoding": "bytes", "template": "text", "on_error": "skip", "workers": 1}
    here = prepare(folder, tmp_path / "here", **how)
    there = prepare(prefix, tmp_path / "there", storage_options=options, **how)
    assert here.fingerprint == there.fingerprint
    files = sorted(path.name for path in here.path.iterdir())
    assert files == sorted(path.name for path in there.path.iterdir())
    for name in files:
        ours, theirs = (here.path / name).read_bytes(), (there.path / name).read_bytes()
        assert theirs.replace(prefix.encode(), folder.encode()) == ours
