"""Training from each loader: the same records, the same losses; at full size, how fast, and how long it waits."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness import gpt
from benchmarks.harness.train import CORPORA, LOADERS, check_equal_work, measure, set_up

TOY = {"records": 16, "longest": 256, "pack_length": 256, "batch_size": 4}
COUNTED = "tokens that are targets"
EXACT = {"dtype": torch.float64, "tolerance": 1e-9}


@pytest.fixture(autouse=True)
def one_thread():
    """Operations this small are slower on several threads, and by far where other programs want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=CORPORA)
def small(request, tmp_path):
    """(store, setting) of a few records, on the CPU."""
    return set_up(tmp_path, request.param, "cpu", **TOY)


@pytest.mark.parametrize(
    "attention",
    [
        "mask",
        pytest.param(
            "flex", marks=pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
        ),
    ],
)
def test_no_loss_depends_on_the_loader(small, attention, monkeypatch):
    monkeypatch.setattr(gpt, "CELLS", 300)  # several pieces a step, as at full size
    store, setting = small
    sums = check_equal_work(store, replace(setting, attention=attention), **EXACT)
    assert list(sums) == list(LOADERS)
    for total in sums.values():
        assert total == pytest.approx(sums["notebook"], rel=1e-12)
        assert total > store.num_tokens  # random bytes: about ln(320) each


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("attention", ["mask", "flex"])
def test_no_loss_depends_on_the_loader_on_a_gpu(tmp_path, attention):
    store, setting = set_up(tmp_path, "short", "cuda", records=100, batch_size=8)
    check_equal_work(store, replace(setting, attention=attention))
    found = measure("packed", store, replace(setting, attention=attention), steps=3)
    assert found["steps"] == 3
    assert 5.5 < found["loss"] < 11.5  # from knowing that tokens are bytes, ln(256), to nothing, ln(50,304)
    assert 1 < found["peak GiB"] < 40


def test_attention_across_documents_is_found(small, monkeypatch):
    monkeypatch.setattr(gpt, "inside_documents", lambda documents, kind: gpt.causal)  # noqa: ARG005
    with pytest.raises(AssertionError, match=r"^packed: Tensor-likes are not close"):
        check_equal_work(*small)


def test_a_lost_record_is_found(small, monkeypatch):
    plain = LOADERS["notebook"]

    def losing(store, setting):
        loader = plain(store, setting)
        loader.batches.rows.pop()
        return loader

    monkeypatch.setitem(LOADERS, "notebook", losing)
    with pytest.raises(AssertionError, match="notebook did not deliver every record exactly once"):
        check_equal_work(*small)


def test_positions_that_run_on_into_the_next_document_are_found(small, monkeypatch):
    counted = LOADERS["packed"]

    def running_on(store, setting):
        loader = counted(store, setting)
        return loader._replace(as_step=lambda batch: loader.as_step(batch)._replace(positions=None))

    monkeypatch.setitem(LOADERS, "packed", running_on)
    with pytest.raises(AssertionError, match=r"^packed: Tensor-likes are not close"):
        check_equal_work(*small)


def test_clocks_tell_the_time_between_marks(monkeypatch):
    ticks = iter([1.0, 1.5, 3.5, 3.75])
    monkeypatch.setattr(gpt.time, "perf_counter", lambda: next(ticks))
    clock = gpt.Clock(torch.device("cpu"))
    for _ in range(4):
        clock.mark()
    assert clock.seconds().tolist() == [0.5, 2.0, 0.25]


# What another version of the compiler warns of is shown at the end, and is no failure of ours.
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(LOADERS))
@pytest.mark.parametrize("corpus_name", CORPORA)
def test_training(figure, sized, tmp_path, corpus_name, name):
    full_size = sized(True, True, False)
    device = "cuda" if full_size and torch.cuda.is_available() else "cpu"
    store, setting = set_up(tmp_path, corpus_name, device, **({} if full_size else TOY))
    if not full_size:
        found = measure(name, store, setting)
        assert found["tokens"] == store.num_tokens - len(store)  # one epoch: all tokens but each record's first
        assert found["peak GiB"] == "not measured"
        return
    found = measure(name, store, setting, seconds=sized(20 if setting.on_gpu else 5, 1, 1))
    title = f"training {'GPT-2 small' if setting.on_gpu else 'a toy'} on {device}, {corpus_name}, {name}"
    figure(f"{title}: {COUNTED}", found["tokens/s"] / 1e3, "k tokens a second")
    if not setting.on_gpu:
        figure(f"training GPT-2 small on cuda, {corpus_name}, {name}: {COUNTED}", None, "k tokens a second")
    for column, unit in (("step ms", "ms"), ("p99 ms", "ms"), ("waiting %", "%"), ("padding %", "%")):
        figure(f"{title}: {column.split()[0]}", found[column], unit)
    if setting.on_gpu:
        figure(f"{title}: peak device memory", found["peak GiB"], "GiB")
