"""The way to the device: bytes a token, host time, and on CUDA the copies themselves; equal batches first."""

import itertools
import time

import pytest
import torch

from benchmarks.harness.floors import share_of_two_bytes
from benchmarks.harness.timing import seconds
from fastcollate import BucketedDataset, PackedDataset, PackingCollator, PaddingCollator, StreamLoader
from fastcollate.collate.staged import new_arrays
from fastcollate.device.ring import Slab

NOT_RUN = "not run: no CUDA device"
COLLATORS = {
    "padded to 32 rows": (lambda store: BucketedDataset(store, batch_size=32), PaddingCollator(256)),
    "packed 8 x 2048": (
        lambda store: PackedDataset(store, length=2048, batch_size=8, overlong="split"),
        PackingCollator(256),
    ),
}


@pytest.mark.parametrize("kind", COLLATORS)
def test_staging_on_the_host(figure, corpus, rounds, full_size, kind):
    name, store = corpus
    make, collate = COLLATORS[kind]
    dataset = make(store)
    parcels = dataset.parcels(dataset.begin().start, columns=collate.columns)
    parcels = list(itertools.islice(parcels, 20 if full_size else 4))
    slab = Slab(pinned=False)

    def each(method):
        for parcel in parcels:
            slab.reuse()
            method(parcel, slab.allocate)

    staged = copied = 0
    for parcel in parcels:
        slab.reuse()
        arrays, build = collate.stage(parcel, slab.allocate)
        built = build({key: torch.from_numpy(array) for key, array in arrays.items()})
        expected = collate.collate(parcel, new_arrays)
        for found, wanted in zip(built, expected, strict=True):
            assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())
            copied += sum(tensor.nbytes for tensor in found.values())
        staged += slab.used
    tokens = sum(int(parcel.tokens.lengths.sum()) for parcel in parcels)
    assert staged / tokens <= 2.4
    size = staged / tokens
    figure(f"bytes a real token, ragged, {name}, {kind}", size, "bytes", **share_of_two_bytes(size))
    figure(f"bytes a real token, padded, {name}, {kind}", copied / tokens, "bytes")
    each(collate.stage), each(collate.collate)
    ratios = [seconds(lambda: each(collate.stage)) / seconds(lambda: each(collate.collate)) for _ in range(rounds)]
    figure(f"host time of ragged staging over padding, {name}, {kind}", ratios, "times")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", COLLATORS)
@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_copies_to_cuda(figure, corpus, kind, transfer):
    name, store = corpus
    make, collate = COLLATORS[kind]
    title = f"{transfer}, {name}, {kind}"
    if not torch.cuda.is_available():
        figure(f"host to device, {title}", None, "us a batch")
        figure(f"delivered to CUDA, {title}", None, "M tokens/s")
        pytest.skip(NOT_RUN)
    with StreamLoader(make(store), collate, device="cuda", transfer=transfer, prefetch=4) as loader:
        for host, batch in zip(map(collate, make(store)), loader, strict=True):
            assert all(torch.equal(batch[key].cpu(), tensor) for key, tensor in host.items())
        warm = loader.stats.seconds_on_bus, loader.stats.bytes_copied, loader.stats.batches
        begun = time.perf_counter()
        for _ in loader:
            pass
        torch.cuda.synchronize()
        took = time.perf_counter() - begun
        stats = loader.stats
    on_bus, copied, batches = stats.seconds_on_bus - warm[0], stats.bytes_copied - warm[1], stats.batches - warm[2]
    figure(f"host to device, {title}", 1e6 * on_bus / batches, "us a batch")
    figure(f"bus bandwidth, {title}", copied / on_bus / 1e9, "GB/s")
    figure(f"copies a batch, {title}", stats.copies / stats.batches, "copies")
    figure(f"delivered to CUDA, {title}", store.num_tokens / took / 1e6, "M tokens/s")


@pytest.mark.gpu
def test_the_bus_itself(figure):
    """What one large pinned copy reaches: the limit of every bandwidth above."""
    if not torch.cuda.is_available():
        figure("bus bandwidth, one large pinned copy", None, "GB/s")
        pytest.skip(NOT_RUN)
    host = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(host, device="cuda")
    times = []
    for _ in range(8):
        begun, over = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        there.copy_(host, non_blocking=True)
        over.record()
        over.synchronize()
        times.append(begun.elapsed_time(over) / 1e3)
    figure("bus bandwidth, one large pinned copy", [host.nbytes / took / 1e9 for took in times[1:]], "GB/s")
