"""Records that are added to a store: it grows, and who reads it sees what there was."""

import json
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
from stores import contents

from fastcollate import BucketedDataset, StoreError, StoreWriteError, TokenStore, merge, prepare
from fastcollate.pretokenize.parts import tasks

KILLS = int(os.environ.get("FASTCOLLATE_KILLS", "80")) // 4
OPTIONS = {"encoding": "bytes", "template": "text", "workers": 1, "on_error": "skip", "keep_columns": ["kind"]}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(tasks, "_LEAST_BYTES", 2048)


def source_of(path, name, count):
    lines = [json.dumps({"text": f"{name} {i} " + "x" * (i % 50), "kind": f"{name}{i % 3}"}) for i in range(count)]
    lines[5::30] = ['{"text": 5, "kind": "bad"}'] * len(lines[5::30])
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def first(tmp_path):
    return source_of(tmp_path / "first.jsonl", "a", 120)


@pytest.fixture
def more(tmp_path):
    return source_of(tmp_path / "more.jsonl", "b", 90)


def records_of(store):
    return [
        (store[i].tolist(), store.spans(i).tolist(), store.words("kind")[store.column("kind", i)[0]])
        for i in range(len(store))
    ]


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_a_store_with_more_is_the_two_joined(tmp_path, first, more, layout):
    options = OPTIONS | {"layout": layout}
    old = prepare(first, tmp_path / "s", **options)
    before = records_of(old)
    grown = prepare(more, tmp_path / "s", append=True, **options)
    alone = prepare(more, tmp_path / "more", **options)
    assert records_of(grown) == before + records_of(alone)
    assert grown.manifest.rejected == {"not_string": 7}
    rows = [json.loads(line)["row"] for line in (tmp_path / "s/rejected.jsonl").read_text().splitlines()]
    assert rows == [5, 35, 65, 95, 5, 35, 65]
    assert [grown.source_row(i) for i in range(len(grown))] == [old.source_row(i) for i in range(len(old))] + [
        120 + alone.source_row(i) for i in range(len(alone))
    ]
    joined = merge(
        [TokenStore(tmp_path / "s", fingerprint=old.fingerprint), tmp_path / "more"], tmp_path / "joined"
    )
    assert joined.fingerprint == grown.fingerprint
    kept = f"manifest-{old.fingerprint}.json"
    assert {name: data for name, data in contents(tmp_path / "s").items() if name != kept} == contents(joined.path)
    again = prepare(first, tmp_path / "s", append=True, **options)
    assert records_of(again)[len(grown) :] == before


def test_who_reads_a_store_goes_on_as_before(tmp_path, first, more):
    old = prepare(first, tmp_path / "s", **OPTIONS)
    before = records_of(old)
    copy = pickle.dumps(old)
    dataset = BucketedDataset(old, batch_size=4, seed=1)
    batches = iter(dataset)
    some = [next(batches).record_ids.tolist() for _ in range(3)]
    grown = prepare(more, tmp_path / "s", append=True, **OPTIONS)
    assert (
        records_of(pickle.loads(copy))
        == records_of(TokenStore(tmp_path / "s", fingerprint=old.fingerprint))
        == before
    )
    seen = np.concatenate([*some, *(batch.record_ids for batch in batches)])
    assert sorted(seen[seen >= 0].tolist()) == list(range(len(before)))
    assert len(grown) > len(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "gpt2"}, r"s has encoding 'bytes' \(.*\), and the records to be added 'gpt2' \(.*\)"),
        ({"layout": "npy"}, "s has layout 'arrow', and the records to be added 'npy'"),
        ({"keep_columns": ()}, r"s has columns kind \(strings\), and the records to be added none"),
    ],
)
def test_what_does_not_go_together_is_refused_at_once(tmp_path, first, more, options, message):
    prepare(first, tmp_path / "s", **OPTIONS)
    before = contents(tmp_path / "s")
    with pytest.raises(StoreWriteError, match=message):
        prepare(more, tmp_path / "s", append=True, **OPTIONS | options)
    assert contents(tmp_path / "s") == before


def test_there_is_a_store_to_add_to(tmp_path, first):
    with pytest.raises(StoreError, match="is not a directory"):
        prepare(first, tmp_path / "s", append=True, **OPTIONS)
    assert not (tmp_path / "s").exists()


def test_a_run_that_is_stopped_leaves_the_store_and_goes_on(tmp_path, first, more):
    prepare(first, tmp_path / "whole", **OPTIONS)
    prepare(more, tmp_path / "whole", append=True, **OPTIONS)
    old = prepare(first, tmp_path / "s", **OPTIONS)
    done = []

    def stop(_):
        if done.append(1) or len(done) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(more, tmp_path / "s", append=True, progress=stop, **OPTIONS)
    assert TokenStore(tmp_path / "s", verify="full").fingerprint == old.fingerprint
    with pytest.raises(StoreWriteError, match="already holds a store"):
        prepare(more, tmp_path / "s", **OPTIONS)
    prepare(more, tmp_path / "s", append=True, **OPTIONS)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


@pytest.mark.slow
@needs_fork
def test_a_run_that_is_killed_at_any_moment_leaves_a_store(tmp_path, first, more):
    begun = time.monotonic()
    old = prepare(first, tmp_path / "old", **OPTIONS)
    prepare(first, tmp_path / "whole", **OPTIONS)
    new = prepare(more, tmp_path / "whole", append=True, **OPTIONS)
    longest = time.monotonic() - begun
    rng, out = random.Random(7), tmp_path / "s"
    out.mkdir()
    ends = 0
    for _ in range(KILLS):
        if not (out / "manifest.json").exists():
            for name, data in contents(tmp_path / "old").items():
                (out / name).write_bytes(data)
        child = os.fork()
        if child == 0:
            try:
                prepare(more, out, append=True, **OPTIONS)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, longest / (1 + rng.randrange(6))))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if TokenStore(out, verify="full").fingerprint == old.fingerprint:
            continue
        if any(name.startswith(("journal", "task")) for name in contents(out)):
            prepare(more, out, append=True, **OPTIONS)  # which only tidies up
        assert TokenStore(out, verify="full").fingerprint == new.fingerprint
        assert contents(out) == contents(tmp_path / "whole")
        ends += 1
        for file in out.iterdir():
            file.unlink()
    assert ends
