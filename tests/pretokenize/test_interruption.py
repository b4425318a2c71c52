"""A run that is broken off at any moment goes on, and ends with the bytes of one that nobody disturbed."""

import json
import os
import random
import signal
import time

import pytest
from stores import contents

from fastcollate import (
    InputError,
    StoreError,
    StoreIncompleteError,
    StoreWriteError,
    StoreWriter,
    TokenStore,
    prepare,
)
from fastcollate.pretokenize.parts import tasks

KILLS = int(os.environ.get("FASTCOLLATE_KILLS", "80"))
OPTIONS = {"encoding": "bytes", "template": "text", "workers": 1, "on_error": "skip", "keep_columns": ["kind"]}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Sources are cut into parts of 4 KiB."""
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 4096)


@pytest.fixture
def source(tmp_path):
    """Two files of several parts and three small ones, with bad rows and blank lines among them."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("a", 300), ("b", 5), ("c", 5), ("d", 200), ("e", 5)):
        lines = [json.dumps({"text": f"{name} {i} " + "x" * (i % 70), "kind": name}) for i in range(count)]
        lines[2::40] = ['{"text": 5, "kind": "bad"}'] * len(lines[2::40])
        lines[3::50] = [""] * len(lines[3::50])
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def stopped_after(count, source, output, **options):
    """A run that is stopped once so many tasks are kept."""
    kept = []

    def stop(_):
        if kept.append(1) or len(kept) > count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, output, progress=stop, **OPTIONS | options)


@pytest.mark.parametrize("layout", ["arrow", "npy"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_stopped_goes_on(tmp_path, source, layout, workers):
    prepare(source, tmp_path / "whole", **OPTIONS | {"layout": layout})
    out = tmp_path / "s"
    stopped_after(4, source, out, layout=layout, workers=workers)
    names = sorted(contents(out))
    assert "journal.jsonl" in names
    assert not [name for name in names if name.endswith(".tmp")]
    with pytest.raises(StoreIncompleteError, match="the same command goes on"):
        TokenStore(out)
    done = []
    store = prepare(source, out, progress=done.append, **OPTIONS | {"layout": layout, "workers": workers})
    assert 0 < sum(done) < len(store)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_clock_that_jumps_changes_nothing(tmp_path, source, monkeypatch):
    prepare(source, tmp_path / "whole", **OPTIONS)
    out, now = tmp_path / "s", random.Random(0)
    monkeypatch.setattr(time, "time", lambda: now.uniform(0, 4e9))
    stopped_after(4, source, out)
    for file in out.iterdir():
        os.utime(file, (now.uniform(0, 4e9),) * 2)
    done = []
    store = prepare(source, out, progress=done.append, **OPTIONS)
    assert 0 < sum(done) < len(store)
    assert contents(out) == contents(tmp_path / "whole")


def test_the_parts_make_what_one_part_would(tmp_path, source, monkeypatch):
    parts = prepare(source, tmp_path / "parts", **OPTIONS)
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 1 << 23)
    one = prepare(source, tmp_path / "one", **OPTIONS)
    assert (len(parts.manifest.shards), len(one.manifest.shards)) == (11, 1)
    assert [parts[i].tolist() for i in range(len(parts))] == [one[i].tolist() for i in range(len(one))]
    assert [parts.source_row(i) for i in range(len(parts))] == [one.source_row(i) for i in range(len(one))]
    assert parts.words("kind") == one.words("kind") == list("abcde")
    assert [parts.column("kind", i)[0] for i in range(len(parts))] == [
        one.column("kind", i)[0] for i in range(len(one))
    ]
    assert parts.manifest.lengths == one.manifest.lengths
    assert parts.manifest.rejected == one.manifest.rejected == {"not_string": 16}
    assert (tmp_path / "parts/rejected.jsonl").read_bytes() == (tmp_path / "one/rejected.jsonl").read_bytes()


@pytest.mark.slow
@needs_fork
def test_a_run_that_is_killed_at_any_moment_goes_on(tmp_path, source):
    begun = time.monotonic()
    prepare(source, tmp_path / "whole", **OPTIONS)
    longest = 1.5 * (time.monotonic() - begun)
    whole, out = contents(tmp_path / "whole"), tmp_path / "s"
    rng, kills, ends = random.Random(5), 0, 0
    while kills < KILLS:
        child = os.fork()
        if child == 0:
            try:
                prepare(source, out, **OPTIONS)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, longest / (1 + rng.randrange(8))))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        try:
            TokenStore(out, verify="full")
        except StoreError:
            assert "manifest.json" not in (contents(out) if out.exists() else {})
            continue
        prepare_again(source, out)
        assert contents(out) == whole
        ends += 1
        for file in out.iterdir():
            file.unlink()
    assert ends > 3
    prepare_again(source, out)
    assert contents(out) == whole


def prepare_again(source, out):
    """The same command, which finds a store that is whole, or nearly."""
    try:
        prepare(source, out, **OPTIONS)
    except StoreWriteError as error:
        if "already holds a store" not in str(error):
            raise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "text", "fields": {"text": "kind"}}, r"template was text \(.*\), and is text"),
        ({"encoding": "gpt2"}, r"encoding was bytes \(.*\), and is gpt2 \(.*\) now"),
        ({"append_eot": False}, "append_eot was True, and is False now"),
        ({"max_length": 5}, "max_length was None, and is 5 now"),
        ({"max_length": 5, "overlong": "drop"}, "max_length was None"),
        ({"keep_columns": ()}, r"keep_columns was kind \(string\), and is nothing now"),
        ({"layout": "npy"}, "layout was arrow, and is npy now"),
        ({"records_per_shard": 7}, "records_per_shard was 262144, and is 7 now"),
        ({"on_error": "raise"}, "on_error was skip, and is raise now"),
    ],
)
def test_another_command_does_not_go_on(tmp_path, source, options, message):
    stopped_after(4, source, tmp_path / "s")
    before = contents(tmp_path / "s")
    with pytest.raises(StoreWriteError, match=message) as caught:
        prepare(source, tmp_path / "s", **OPTIONS | options)
    assert "run the former command again to go on with it, or remove the directory" in str(caught.value)
    assert contents(tmp_path / "s") == before


def test_another_source_does_not_go_on(tmp_path, source):
    stopped_after(4, source, tmp_path / "s")
    before = contents(tmp_path / "s")
    with (source / "a.jsonl").open("a") as file:
        file.write('{"text": "more", "kind": "a"}\n')
    with pytest.raises(StoreWriteError, match=r"the source 'a\.jsonl' has changed"):
        prepare(source, tmp_path / "s", **OPTIONS)
    assert contents(tmp_path / "s") == before
    with pytest.raises(StoreWriteError, match="an unfinished `fastcollate prepare`"):
        StoreWriter(tmp_path / "s", encoding="bytes").__enter__()


@pytest.mark.parametrize("least", [4096, 1 << 23])
def test_a_source_that_grows_under_the_run_is_told(tmp_path, source, monkeypatch, least):
    monkeypatch.setattr(tasks, "_LEAST_BYTES", least)
    grown = []

    def grow(_):
        if not grown:
            grown.append(1)
            with (source / "d.jsonl").open("a") as file:
                file.write('{"text": "more", "kind": "d"}\n')

    with pytest.raises(InputError, match=r"d\.jsonl: was changed while it was read") as caught:
        prepare(source, tmp_path / "s", progress=grow, **OPTIONS)
    assert caught.value.reason == "changed"
    with pytest.raises(StoreError):
        TokenStore(tmp_path / "s")
    whole = prepare(source, tmp_path / "again", **OPTIONS)
    assert len(whole) == sum(whole.manifest.lengths[i][1] for i in range(len(whole.manifest.lengths)))


def test_what_was_finished_before_a_bad_record_is_kept(tmp_path, source):
    """The command goes on where bad records are skipped, or their file is mended and nothing is kept of it."""
    bad = source / "d.jsonl"
    good = "".join(json.dumps({"text": str(i), "kind": "d"}) + "\n" for i in range(600))
    for name in "abce":
        (source / f"{name}.jsonl").write_text(good)
    bad.write_text('{"text": 5, "kind": "d"}\n' + good)
    for fix in ("skip", "mend"):
        with pytest.raises(InputError, match=r"d.jsonl, line 1:"):
            prepare(source, tmp_path / fix, **OPTIONS | {"on_error": "raise"})
        done = []
        if fix == "mend":
            bad.write_text(good)
        on_error = "skip" if fix == "skip" else "raise"
        store = prepare(source, tmp_path / fix, progress=done.append, **OPTIONS | {"on_error": on_error})
        assert len(store) == 3000
        assert sum(done) < 1500
        prepare(source, tmp_path / f"{fix} whole", **OPTIONS | {"on_error": on_error})
        assert contents(tmp_path / fix) == contents(tmp_path / f"{fix} whole")


def test_what_is_damaged_of_a_journal_is_done_again(tmp_path, source):
    prepare(source, tmp_path / "whole", **OPTIONS)
    stopped_after(6, source, tmp_path / "s")
    journal = tmp_path / "s/journal.jsonl"
    kept = journal.read_bytes()
    rng = random.Random(3)
    for _ in range(40):
        data = bytearray(kept)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        journal.write_bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in (tmp_path / "s").iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        prepare(source, copy, **OPTIONS)
        assert contents(copy) == contents(tmp_path / "whole")
        for file in copy.iterdir():
            file.unlink()
        copy.rmdir()


def test_a_run_that_finishes_nothing_leaves_nothing(tmp_path, source):
    stopped_after(0, source, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with pytest.raises(InputError, match="holds no usable records"):
        prepare(source, tmp_path / "s", **OPTIONS | {"max_length": 1, "overlong": "drop"})
    assert not (tmp_path / "s").exists()
