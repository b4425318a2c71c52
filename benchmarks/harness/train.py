"""Training a GPT-2-shaped model from four loaders of the same records: how fast, and how long it waits for them.

    python -m benchmarks.harness.train [--device cpu|cuda] [--corpus long-tailed|short] [--steps N] [--seconds S]
        [--json FILE]

First, on a small corpus, every loader must deliver the same records, and each record must have the same losses.
Then each trains the same model for as many steps as its epoch has, unless --steps or --seconds says otherwise.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

import fastcollate as fc
from benchmarks.harness.baselines import notebook_collate
from benchmarks.harness.corpora import make_store
from benchmarks.harness.gpt import GPT, IGNORED, Clock, Shape, Step, losses_by_record, train_step

SEED, CORPORA = 0, ("long-tailed", "short")
WARM_UP = 5  # steps
# At full size on CUDA; elsewhere the same program, small enough to be tried.
# 32 rows of 8192 tokens keep about 350 kB of activations a token, 92 GB: smaller devices want a --batch-size.
SIZES = {
    "cuda": {"records": 20_000, "longest": 8192, "batch_size": 32, "pack_length": 2048, "attention": "flex"},
    "cpu": {"records": 800, "longest": 512, "batch_size": 8, "pack_length": 512, "attention": "mask"},
}
MODELS = {"cuda": {}, "cpu": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 320}}
EQUAL_RECORDS = 100


@dataclass(frozen=True)
class Setting:
    """What all loaders agree on, and how the packs' attention is computed."""

    device: torch.device
    batch_size: int  # rows; packs hold about as many tokens together
    pack_length: int
    transfer: str
    attention: str
    shape: Shape

    @property
    def on_gpu(self):
        return self.device.type == "cuda"


class Loader(NamedTuple):
    """`batches` gives an epoch each time it is iterated; what `as_step` does belongs to the loader's time."""

    batches: Iterable
    as_step: Callable

    def epoch(self):
        return map(self.as_step, self.batches)

    def endless(self):
        while True:
            yield from self.epoch()


class PlainLoop:
    """The notebook's loop: shuffle lists, and pad the next of them in Python."""

    def __init__(self, store, batch_size):
        self.rows = [row[:-1].tolist() for row in store]  # the collate function appends the end token itself
        self.batch_size, self.end = batch_size, store.eot_token_id
        self.random = Random(SEED)

    def __len__(self):
        return (len(self.rows) + self.batch_size - 1) // self.batch_size

    def __iter__(self):
        order = list(range(len(self.rows)))
        self.random.shuffle(order)
        for start in range(0, len(order), self.batch_size):
            yield notebook_collate([self.rows[i] for i in order[start : start + self.batch_size]], self.end)


def notebook(store, setting):
    """The plain loop; the copy to the device blocks."""
    return Loader(
        PlainLoop(store, setting.batch_size), lambda pair: Step(*(tensor.to(setting.device) for tensor in pair))
    )


def dataloader(store, setting):
    """torch's `DataLoader`: processes, padding by a Python loop, pinned memory, copies that do not block."""
    batches = DataLoader(
        [{"input_ids": row.tolist()} for row in store],
        batch_size=setting.batch_size,
        shuffle=True,
        collate_fn=partial(pad_features, pad=store.eot_token_id),
        num_workers=2 if setting.on_gpu else 0,
        persistent_workers=setting.on_gpu,
        pin_memory=setting.on_gpu,
        generator=torch.Generator().manual_seed(SEED),
    )

    def as_step(batch):
        moved = {name: tensor.to(setting.device, non_blocking=True) for name, tensor in batch.items()}
        return Step(moved["input_ids"], next_token(moved["labels"]))

    return Loader(batches, as_step)


def pad_features(features, pad):
    """Pad as Hugging Face's collators do: ids, labels, and a mask that this model does not need."""
    rows = [feature["input_ids"] for feature in features]
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED] * (width - len(row)) for row in rows]),
    }


def next_token(labels):
    """Labels aligned with the inputs as next-token targets: [5 6 7] becomes [6 7 -100]."""
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def padded(store, setting):
    """fastcollate: rows of similar length, padded."""
    dataset = fc.BucketedDataset(store, batch_size=setting.batch_size, seed=SEED)
    collate = fc.PaddingCollator(store.eot_token_id, shift_labels=True)
    batches = fc.StreamLoader(dataset, collate, device=setting.device, transfer=setting.transfer)
    return Loader(batches, lambda batch: Step(batch["input_ids"], batch["labels"]))


def packed(store, setting):
    """fastcollate: whole documents in rows of one length, in a step about as many tokens as the others have."""
    length, one_shape = setting.pack_length, setting.on_gpu  # there attention is compiled for each shape
    packs = max(1, round(setting.batch_size * store.num_tokens / len(store) / length))
    dataset = fc.PackedDataset(store, length=length, batch_size=packs, seed=SEED, drop_last=one_shape)
    collate = fc.PackingCollator(store.eot_token_id)
    batches = fc.StreamLoader(dataset, collate, device=setting.device, transfer=setting.transfer)
    return Loader(
        batches,
        lambda b: Step(b["input_ids"], next_token(b["labels"]), b["position_ids"], b["document_ids"]),
    )


LOADERS = {"notebook": notebook, "dataloader": dataloader, "padded": padded, "packed": packed}


def training_store(path, name, records, longest):
    """A corpus as `prepare` would leave it: each record has at most `longest` tokens, the last an end token."""
    drawn = make_store(path / "drawn", name, records, SEED)
    rows = fc.Ragged.from_rows([row[:longest] for row in drawn], np.uint16)
    rows.values[rows.offsets[1:] - 1] = drawn.eot_token_id
    with fc.StoreWriter(path / "ended", encoding="bytes") as writer:
        writer.append(rows)
    return fc.TokenStore(path / "ended")


def set_up(path, corpus, device, **changes):
    """A corpus at `path` and the setting for it; `changes` to this device's size, None changing nothing."""
    size = {**SIZES[device], **{name: value for name, value in changes.items() if value is not None}}
    store = training_store(path, corpus, size.pop("records"), size.pop("longest"))
    longest = int(store.length_histogram()[0].max())
    size["pack_length"] = max(size["pack_length"], -(-longest // 128) * 128)  # no record is split or refused
    shape = Shape(positions=size["pack_length"], **MODELS[device])
    return store, Setting(torch.device(device), shape=shape, **{"transfer": "padded", **size})


def check_equal_work(store, setting, names=tuple(LOADERS), *, dtype=torch.float32, tolerance=2e-2):
    """Every loader delivers each record once, and a frozen model gives it, token by token, the same losses.

    Wide weights: with those of a fresh model it would hardly matter what a token sees; what it must not see would
    move losses by about 1, single precision on any device far less than `tolerance`. Returns the summed losses.
    """
    torch.manual_seed(SEED)
    model = GPT(Shape(positions=setting.pack_length, **MODELS["cpu"], std=0.1)).to(setting.device, dtype)
    expected, wanted, sums = sorted(tuple(row.tolist()) for row in store), None, {}
    for name in names:
        records, losses = losses_by_record(model, LOADERS[name](store, setting).epoch(), setting.attention)
        if records != expected:
            raise AssertionError(f"{name} did not deliver every record exactly once")
        wanted = losses if wanted is None else wanted
        torch.testing.assert_close(losses, wanted, rtol=0, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}")
        sums[name] = float(losses.double().sum())
    return sums


def measure(name, store, setting, *, steps=None, seconds=None):
    """A fresh model's training, for `steps`, for `seconds`, or for as many steps as an epoch has."""
    torch.manual_seed(SEED)
    model = GPT(setting.shape).to(setting.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=setting.on_gpu
    )
    train = partial(train_step, model, optimizer, attention=setting.attention)
    loader = LOADERS[name](store, setting)
    most = steps or (len(loader.batches) if seconds is None else sys.maxsize)
    stream = loader.endless()
    first = next(stream)  # not timed: starting the loader, and a few steps on this batch
    for _ in range(WARM_UP):
        train(first)
    if setting.on_gpu:
        torch.cuda.synchronize(setting.device)
        torch.cuda.reset_peak_memory_stats(setting.device)
    clock, cells, deadline = Clock(setting.device), 0, time.perf_counter() + (seconds or float("inf"))
    sums = torch.zeros(2, dtype=torch.float64, device=setting.device)  # of losses and targets: read at the end
    clock.mark()
    while len(clock.marks) < 2 * most and time.perf_counter() < deadline:
        step, first = first or next(stream), None
        clock.mark()
        sums += train(step)
        clock.mark()
        cells += step.inputs.numel()
    stream.close()
    return result(name, setting, clock.seconds(), cells, sums.tolist())


def result(name, setting, spans, cells, sums):
    """A row of the table; `spans` are seconds waited, trained, waited, trained, and so on."""
    waits, works = spans.reshape(-1, 2).T
    times, (loss, tokens) = waits + works, sums
    peak = torch.cuda.max_memory_allocated(setting.device) / 2**30 if setting.on_gpu else "not measured"
    return {
        "loader": name,
        "steps": len(times),
        "tokens": int(tokens),
        "tokens/s": round(tokens / times.sum()),
        "step ms": times.mean() * 1e3,
        "p99 ms": np.percentile(times, 99) * 1e3,
        "waiting %": 100 * waits.sum() / times.sum(),
        "padding %": 100 - 100 * tokens / cells,
        "loss": loss / tokens,
        "peak GiB": peak,
    }


def line(cells):
    texts = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return f"{texts[0]:<12}" + "".join(f"{text:>11}" for text in texts[1:-1]) + f"{texts[-1]:>14}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=list(SIZES), default=here)
    parser.add_argument("--corpus", choices=CORPORA, default="long-tailed")
    parser.add_argument("--steps", type=int, help="timed steps of each loader at most")
    parser.add_argument("--seconds", type=float, help="of each loader at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--loaders", nargs="+", choices=list(LOADERS), default=list(LOADERS), help="default: all")
    parser.add_argument("--transfer", choices=["padded", "ragged"], help="of both StreamLoaders; default: padded")
    parser.add_argument("--attention", choices=["mask", "flex"], help="of the packs; default: flex on CUDA")
    parser.add_argument("--records", type=int, help="of the corpus")
    parser.add_argument("--batch-size", type=int, help="rows of a step")
    return parser.parse_args()


def main():
    given = arguments()
    chosen = {name: getattr(given, name) for name in ("corpus", "device", "transfer", "attention", "batch_size")}
    results = []
    with tempfile.TemporaryDirectory() as directory:
        few = set_up(Path(directory) / "few", **chosen, records=EQUAL_RECORDS)
        check_equal_work(*few, given.loaders)
        print(f"equal work: {EQUAL_RECORDS} records, the same loss of each token from {' '.join(given.loaders)}")
        store, setting = set_up(Path(directory) / "all", **chosen, records=given.records)
        print(f"{given.corpus}: {len(store)} records, {store.num_tokens} tokens\n{setting}\n")
        for name in given.loaders:
            found = measure(name, store, setting, steps=given.steps, seconds=given.seconds)
            print(*[] if results else [line(found)], line(found.values()), sep="\n", flush=True)
            results.append(found)
    print("cuda: run" if setting.on_gpu else "cuda: not run")
    if given.json:
        given.json.write_text(json.dumps(report(given, setting, results), indent=1) + "\n")


def report(given, setting, results):
    return {
        "corpus": given.corpus,
        "device": torch.cuda.get_device_name() if setting.on_gpu else "cpu",
        "cuda": "run" if setting.on_gpu else "not run",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "setting": {**asdict(setting), "device": str(setting.device)},
        "results": results,
    }


if __name__ == "__main__":
    main()
