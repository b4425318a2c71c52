"""`fastcollate bench`: what the loops deliver is counted independently here, from the rows and their lengths."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import fail, run, succeed
from hypothesis import given
from hypothesis import strategies as st
from stores import write_store

from fastcollate import BucketedDataset, PackedDataset, Ragged, StoreWriter, TokenStore
from fastcollate.bench import loops
from fastcollate.bench import sample as sampling
from fastcollate.bench.loops import features_of, hugging_face_collate, plain_collate
from fastcollate.bench.sample import expected_padding, expected_width, sample
from fastcollate.bench.standings import print_standings
from fastcollate.cli.bench import copies

ROOT = Path(__file__).parents[2]
LOOPS = ["plain_loop", "hugging_face", "padded", "packed"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("fastcollate.cli.bench._LEAST", 0.0)


def facts_of(store, *argv):
    return json.loads(succeed("bench", store.path, "--json", *argv))


def plain_cells(lengths, batch_size, seed):
    order = list(range(len(lengths)))
    Random(seed).shuffle(order)
    batches = [lengths[order[i : i + batch_size]] for i in range(0, len(order), batch_size)]
    return sum(int(batch.max()) * len(batch) for batch in batches)


# The numbers


@pytest.mark.parametrize(("batch_size", "seed"), [(32, 0), (7, 5), (1, 1), (5000, 0)])
def test_cells_and_padding_are_those_of_the_plans(store, batch_size, seed):
    found = facts_of(store, "--batch-size", batch_size, "--seed", seed, "--pack", 256)
    rows, loops = min(batch_size, len(store)), found["loops"]
    assert list(loops) == LOOPS
    padded = list(BucketedDataset(store, batch_size=rows, seed=seed))
    packs = found["packs_of_a_batch"]
    assert packs == max(1, round(rows * store.num_tokens / len(store) / 256))
    packed = list(PackedDataset(store, length=256, batch_size=packs, seed=seed))
    plain = plain_cells(store.lengths, rows, seed)
    assert [loops[name]["cells"] for name in LOOPS] == [
        plain,
        plain,
        sum(int(batch.lengths.max()) * len(batch) for batch in padded),
        sum(256 * len(batch.packs.used) for batch in packed),
    ]
    slow = -(-len(store) // rows)
    assert [loops[name]["batches"] for name in LOOPS] == [slow, slow, len(padded), len(packed)]
    for loop in loops.values():
        assert loop["padding"] == 1 - store.num_tokens / loop["cells"]
        assert loop["tokens_per_second"] == store.num_tokens / loop["seconds"]
        assert loop["ratio"] == loop["tokens_per_second"] / loops["plain_loop"]["tokens_per_second"]
        assert 0 < loop["seconds_between_batches_p99"] <= loop["seconds"] * 100
        assert loop["cpu_seconds_per_million_tokens"] > 0


def test_the_work_is_equal_and_said_to_be_done_on_the_cpu(store):
    found = facts_of(store)
    assert (found["copies"], found["device"], found["transfer"], found["rounds"]) == ({}, "cpu", "padded", 3)
    id_sum = sum(int(row.sum(dtype=np.int64)) for row in store)
    assert found["records"] == found["records_in_store"] == len(store)
    assert {(loop["tokens"], loop["id_sum"]) for loop in found["loops"].values()} == {(store.num_tokens, id_sum)}


def test_tokens_that_are_the_end_token_count_where_they_stand(tmp_path):
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([[256, 1, 256, 256], [2], [256], [3, 256, 4]]))
    loops = facts_of(TokenStore(tmp_path / "store"), "--batch-size", 2)["loops"]
    assert {(loop["tokens"], loop["id_sum"]) for loop in loops.values()} == {(9, 5 * 256 + 10)}


def test_records_longer_than_a_pack_are_split_and_counted(store):
    found = facts_of(store, "--pack", 50)
    assert found["records_split"] == int((store.lengths > 50).sum()) > 0
    assert found["loops"]["packed"]["tokens"] == store.num_tokens
    out = succeed("bench", store.path, "--pack", 50)
    assert f"{found['records_split']} records longer than a pack" in " ".join(out.split())


def test_packs_are_no_longer_than_what_there_is(tmp_path):
    found = facts_of(write_store(tmp_path / "store", [3, 4]))
    assert (found["pack"], found["loops"]["packed"]["padding"]) == (7, 0.0)


def test_records_of_one_length_need_no_padding(tmp_path):
    store = write_store(tmp_path / "store", [16] * 64)
    assert [loop["padding"] for loop in facts_of(store, "--pack", 64)["loops"].values()] == [0.0] * 4
    assert "as many cells padded, as many cells packed" in " ".join(
        succeed("bench", store.path, "--pack", 64).split()
    )


def test_the_plain_collates_pad_by_length():
    rows = [[1, 9, 3], [9]]
    inputs, labels = plain_collate(rows, 9, 0)
    batch = hugging_face_collate(features_of(rows), 9)
    assert torch.equal(inputs, torch.tensor([[1, 9, 3], [9, 9, 9]]))
    assert torch.equal(labels, torch.tensor([[1, 9, 3], [9, -100, -100]]))
    assert torch.equal(batch["input_ids"], inputs)
    assert torch.equal(batch["labels"], labels)
    assert torch.equal(batch["attention_mask"], torch.tensor([[1, 1, 1], [1, 0, 0]]))


# The sample


def test_a_sample_is_of_random_records_in_the_stores_order(store):
    part = sample(store, 200, batch_size=32, seed=3)
    rows = [part[i].tolist() for i in range(len(part))]
    assert len(rows) == 200
    assert part.num_tokens == part.lengths.sum() == sum(map(len, rows))
    assert part.eot_token_id == store.eot_token_id
    assert part[0].dtype == store[0].dtype
    left = (row.tolist() for row in store)
    assert all(row in left for row in rows)  # each is found after the one before: none comes twice
    other = sample(store, 200, batch_size=32, seed=4)
    assert part.lengths.tolist() != other.lengths.tolist()
    assert sample(store, 200, batch_size=32, seed=3).fingerprint == part.fingerprint


def test_a_sample_of_all_records_is_the_store(store):
    assert sample(store, len(store), batch_size=32, seed=3) is store


def test_a_sample_is_what_the_loops_use(store):
    found = facts_of(store, "--records", 100, "--seed", 3)
    part = sample(store, 100, batch_size=32, seed=3)
    assert (found["records"], found["records_in_store"], found["tokens"]) == (100, 1003, part.num_tokens)
    assert found["loops"]["plain_loop"]["cells"] == plain_cells(part.lengths, 32, 3)
    assert {loop["tokens"] for loop in found["loops"].values()} == {part.num_tokens}
    words = " ".join(succeed("bench", store.path, "--records", 100).split())
    assert "100 random records of 1,003" in words
    assert "By the lengths of all records in the store a plain loop pads" in words


def test_a_large_store_is_sampled(store, monkeypatch):
    monkeypatch.setattr(sampling, "_CELLS", 20_000)
    found = facts_of(store)
    assert 0.5 < found["loops"]["plain_loop"]["cells"] / 20_000 < 2
    assert found["records"] < 500
    monkeypatch.setattr(sampling, "_CELLS", 1)
    assert facts_of(store)["records"] == 2


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 3))
def test_the_expected_width_is_the_mean_over_all_batches(lengths, rows):
    grids = np.meshgrid(*[lengths] * rows)  # with replacement: as in a store much larger than a batch
    width = float(np.max(grids, axis=0).mean())
    histogram = np.unique(lengths, return_counts=True)
    assert expected_width(*histogram, rows) == pytest.approx(width)
    assert expected_padding(*histogram, rows) == pytest.approx(1 - np.mean(lengths) / width)


# What people see


def test_people_get_a_table_and_what_it_means(store):
    out = succeed("bench", store.path, "--pack", 256)
    lines = out.splitlines()
    head = next(i for i, line in enumerate(lines) if "padding" in line)
    assert lines[head].split("  ")[-1].strip() == "p99 ms"
    assert [line[2:20].strip() for line in lines[head + 1 : head + 5]] == [
        "plain loop", "Hugging Face style", "fastcollate padded", "fastcollate packed",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    loops = facts_of(store, "--pack", 256)["loops"]
    plain, padded, packed = (f"{100 * loops[name]['padding']:.1f}" for name in ("plain_loop", "padded", "packed"))
    words = " ".join(out.split())
    assert f"all 1,003 records, {store.num_tokens:,} tokens; batches of 32 rows" in words
    assert f"model, {plain} are padding; of ours {padded} padded, {packed} packed." in words
    less = f"{100 * (1 - loops['padded']['cells'] / loops['plain_loop']['cells']):.1f}"
    assert f"goes over {less} % fewer cells padded" in words
    assert "no copies are made" in words
    assert f"all four delivered the same {store.num_tokens:,} tokens" in words


def test_on_a_device_the_copies_are_reported(store, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    stats = {
        "batches": 40,
        "seconds_waited": 0.5,
        "bytes_copied": 6_000_000,
        "bytes_per_token": 6.25,
        "copies": 60,
    }
    known = copies(SimpleNamespace(**stats, seconds_on_bus=0.0005))
    unknown = copies(SimpleNamespace(**stats, seconds_on_bus=0.0))
    assert known == {
        "batches": 40,
        "seconds_waited": 0.5,
        "bytes": 6_000_000,
        "bytes_per_token": 6.25,
        "copies_per_batch": 1.5,
        "bytes_per_second": 12e9,
    }
    assert unknown["bytes_per_second"] is None
    print_standings({**facts_of(store), "device": "cuda:0", "copies": {"padded": known, "packed": unknown}})
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if line.startswith("  fastcollate")]
    assert table[2][2:] == ["6.00", "MB", "6.2", "1.5", "0.50", "s", "12.0", "GB/s"]
    assert table[3][2:] == ["6.00", "MB", "6.2", "1.5", "0.50", "s", "unknown"]
    assert max(len(line) for line in lines if line.startswith("  ")) <= 99
    assert not any("no copies" in line for line in lines)
    assert any("on cuda:0" in line for line in lines)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_on_cuda(store, transfer):
    found = facts_of(store, "--device", "cuda", "--transfer", transfer)
    assert {loop["tokens"] for loop in found["loops"].values()} == {store.num_tokens}
    assert all(copies["bytes_per_second"] > 0 for copies in found["copies"].values())


@pytest.mark.slow
def test_progress_is_for_terminals(store):
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    argv = [sys.executable, "-m", "fastcollate", "bench", str(store.path), "--records", "50"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=terminal, check=True, env=env)
    shown = os.read(screen, 65536)
    os.close(terminal)
    os.close(screen)
    assert b"round 1 of 3: plain loop ..." in shown
    assert shown.endswith(b"\r\x1b[K")  # nothing is left of it


# What is refused


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch-size", "0"], "batch_size is 0: it must be an integer, at least 1"),
        (["--batch-size", "-3"], "batch_size is -3: it must be an integer, at least 1"),
        (["--records", "0"], "--records is 0: it must be from 2 to 1003, the records of"),
        (["--records", "1"], "--records is 1: it must be from 2 to 1003, the records of"),
        (["--records", "1004"], "--records is 1004: it must be from 2 to 1003, the records of"),
        (["--pack", "0"], "length is 0: it must be an integer, at least 2"),
        (["--pack", "-1"], "length is -1"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "nowhere"], "device 'nowhere' is unknown to torch"),
        (["--device", "meta"], "--device is meta, which holds no data"),
    ],
)
def test_arguments_out_of_range_are_one_line(store, argv, message):
    assert fail("bench", store.path, *argv).startswith(message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_a_device_that_is_not_here_is_one_line(store):
    assert fail("bench", store.path, "--device", "cuda").startswith("device 'cuda' is not here: torch sees 0 CUDA")


def test_one_record_and_none_are_too_few(store, tmp_path):
    path = tmp_path / "store"
    write_store(path, [7])
    assert fail("bench", path) == f"{path} has 1 record: comparing ways to pad takes at least 2"
    nothing = store.split({"none": 0.0})["none"]
    with pytest.raises(sampling.InputError, match="has no records: comparing ways to pad takes at least 2"):
        sample(nothing, None, batch_size=2, seed=0)


def test_a_directory_without_a_store_is_an_error(tmp_path):
    assert fail("bench", tmp_path).startswith(f"{tmp_path} holds no store")


def test_ctrl_c_ends_it(store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loops, "hugging_face_collate", interrupted)
    assert run("bench", store.path) == (130, "", "fastcollate: interrupted\n")
