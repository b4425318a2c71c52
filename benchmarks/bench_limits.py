"""The physical limits of this machine, and how near to them the hot paths come."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench_collate import batches_of, each
from benchmarks.bench_prepare import encoding_or_skip
from benchmarks.harness.corpora import instructions
from benchmarks.harness.timing import seconds
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader

COLLATE = PaddingCollator(256)
MEGABYTES = 64
FILLING = "filling as many int64 with a constant"


def rates(function, amount, rounds):
    """`amount` by the seconds of each round, after a warm-up."""
    function()
    return [amount / seconds(function) for _ in range(rounds)]


def test_copying_memory(figure, rounds, sized):
    source = np.ones(sized(MEGABYTES, MEGABYTES, 1) << 20, np.uint8)
    target = np.empty_like(source)
    figure("limit: copying memory", rates(lambda: np.copyto(target, source), source.nbytes / 1e9, rounds), "GB/s")
    assert (target == 1).all()


def test_the_memory_of_torch_alone(figure):
    """What every loader that makes tensors has before its first batch; whole, though this process shares some."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("only Linux says how much memory a process has of its own")
    code = "import numpy, torch, torch.utils.data; print(open('/proc/self/smaps_rollup').read())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (kilobytes,) = re.findall(r"^Rss: +(\d+) kB$", run.stdout, re.MULTILINE)
    figure("limit: memory of a process that imported torch", 1024 * int(kilobytes) / 1e6, "MB")


ANONYMOUS = """
def anonymous():
    status = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
"""
EPOCH = """
import sys
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader, TokenStore
peak, loader = 0, StreamLoader(BucketedDataset(TokenStore(sys.argv[1]), batch_size=32), PaddingCollator(256))
for number, _ in enumerate(loader):
    if number % 100 == 0:
        peak = max(peak, anonymous())
print(max(peak, anonymous()))
"""


def test_the_anonymous_memory_of_a_loader(figure, any_corpus):
    """The most that an epoch takes above torch's own; mapped files are not counted."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux says how much memory a process has of its own")
    kind, store = any_corpus

    def kilobytes(code):
        command = [sys.executable, "-c", ANONYMOUS + code, str(store.path)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    torch_alone = kilobytes("import numpy, torch, torch.utils.data; print(anonymous())")
    more = 1024 * (kilobytes(EPOCH) - torch_alone) / 1e6
    figure(f"anonymous memory of an epoch above torch's own: {kind}, batch 32", more, "MB")


def test_tiktoken_alone(figure, rounds, sized):
    encoding = encoding_or_skip("gpt2")
    texts = instructions(sized(4_000, 2_000, 100))[1]
    tokens = sum(map(len, encoding.encode_ordinary_batch(texts)))
    assert tokens == sum(len(encoding.encode_ordinary(text)) for text in texts)
    one = rates(lambda: [encoding.encode_ordinary(text) for text in texts], tokens / 1e6, rounds)
    figure("limit: tiktoken's encode_ordinary, gpt2, one thread", one, "M tokens/s")
    many = rates(lambda: encoding.encode_ordinary_batch(texts), tokens / 1e6, rounds)
    figure("limit: tiktoken's encode_ordinary_batch, gpt2, its threads", many, "M tokens/s")


def test_reading_the_store(figure, corpus, rounds):
    kind, store = corpus
    shards = sorted(Path(store.path).glob("shard-*"))
    files = [np.memmap(path, np.int64, "r", shape=path.stat().st_size // 8) for path in shards]
    total = sum(file.nbytes for file in files)
    assert total > store.num_tokens * 2
    read = rates(lambda: [int(file.sum()) for file in files], total / 1e9, rounds)
    figure(f"limit: reading the store from the page cache, {kind}", read, "GB/s")


def test_gathering_rows_beside_copying_them(near_limit, corpus, sized):
    kind, store = corpus
    rows = np.random.default_rng(0).permutation(len(store))[: sized(5_000, 1_000, 50)]
    taken = store.take(rows)
    assert [row.tolist() for row in taken] == [store[i].tolist() for i in rows.tolist()]
    target = np.empty_like(taken.values)
    near_limit(
        f"taking random rows of the store, {kind}",
        taken.values.nbytes / 1e9,
        "GB/s",
        limit="copying as many bytes",
        reach=lambda: np.copyto(target, taken.values),
        ours=lambda: store.take(rows),
    )


def filler(cells):
    """What fills as many int64 as each batch has, `cells` of them, with a constant: in memory it already has.

    Fresh memory would be no limit: the system hands it out page by page, and a collator may do without. Nor would
    torch's own fill: on a busy machine its threads wait for each other longer than they work.
    """
    memory = np.zeros(max(cells), np.int64)

    def fill():
        for count in cells:
            memory[:count].fill(1)

    return fill


def cells_of(batch):
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    return sum(tensor.numel() for tensor in batch.values())


def test_collating_beside_filling(near_limit, figure, corpus, rounds, sized):
    kind, store = corpus
    batches = batches_of(store, 32, bucketed=True, cells=sized(2_000_000, 500_000, 20_000))
    cells = []
    for batch in batches:
        made = COLLATE(batch)
        assert made.num_tokens == int(batch.lengths.sum())
        cells.append(cells_of(made))
    fill, size = filler(cells), 8 * sum(cells) / 1e9
    figure(f"limit: filling output tensors, {kind}", rates(fill, size, rounds), "GB/s")
    near_limit(
        f"collating batches of 32, {kind}",
        size,
        "GB/s",
        limit=FILLING,
        reach=fill,
        ours=lambda: each(COLLATE, batches),
    )


def test_an_epoch_beside_filling(near_limit, corpus):
    kind, store = corpus
    loader = StreamLoader(BucketedDataset(store, batch_size=32), COLLATE)
    cells = [cells_of(batch) for batch in loader]
    assert loader.stats.tokens == store.num_tokens
    near_limit(
        f"an epoch of batches of 32, planned, gathered and collated, {kind}",
        8 * sum(cells) / 1e9,
        "GB/s",
        limit=FILLING,
        reach=filler(cells),
        ours=lambda: each(id, loader),
    )
