"""On a CUDA device: every batch equals the host's, one copy each, no memory grows, nothing waits for nothing."""

import gc
import random
import time

import pytest
import torch
from batches import COLLATED, content
from torch.utils.data import DataLoader

from fastcollate import BucketedDataset, InputError, PaddingCollator, StreamLoader, prefetch_to_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.timeout(600),
]
transfers = pytest.mark.parametrize("transfer", ["padded", "ragged"])


@transfers
@pytest.mark.parametrize("kind", COLLATED)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_equal_the_hosts(store, kind, transfer, workers):
    dataset, collate = COLLATED[kind](store)
    expected = [content(batch) for batch in map(collate, dataset)]
    loader = StreamLoader(dataset, collate, device="cuda", transfer=transfer, num_workers=workers)
    assert [content(batch) for batch in loader] == expected
    assert loader.stats.copies == loader.stats.batches == len(expected)


@transfers
def test_many_batches_with_random_delays_equal_the_hosts(store, transfer):
    dataset, collate = BucketedDataset(store, batch_size=4), PaddingCollator(256, supervise="response")
    loader = StreamLoader(dataset, collate, device="cuda", prefetch=3, transfer=transfer)
    delays, compared = random.Random(0), 0
    wrong = torch.zeros((), dtype=torch.int64, device="cuda")
    while compared < 100_000:
        dataset_of_epoch = BucketedDataset(store, batch_size=4)
        dataset_of_epoch.set_epoch(loader.epoch)
        expected = [{k: v.cuda() for k, v in batch.items()} for batch in map(collate, dataset_of_epoch)]
        for there, batch in zip(expected, loader, strict=True):
            if delays.random() < 0.01:  # the consumer falls behind, the copies do, or the host does
                torch.cuda._sleep(delays.randrange(1_000_000))
            elif delays.random() < 0.01:
                with torch.cuda.stream(loader._copier._stream):
                    torch.cuda._sleep(delays.randrange(1_000_000))
            elif delays.random() < 0.01:
                time.sleep(0.001)
            for name, tensor in there.items():  # nothing here waits: batches are dropped before they are compared
                wrong += (batch[name] != tensor).sum()
            compared += 1
    assert int(wrong) == 0


@transfers
def test_no_memory_grows(store, transfer):
    loader = StreamLoader(
        BucketedDataset(store, batch_size=4), PaddingCollator(256), device="cuda", transfer=transfer
    )
    seen, reserved = 0, []
    while seen < 10_000:
        for _ in loader:
            seen += 1
        torch.cuda.synchronize()
        reserved.append(
            (torch.cuda.memory_reserved(), [len(slab._memory) for slab in loader._copier._ring._slabs])
        )
    (device, pinned), (device_later, pinned_later) = reserved[len(reserved) // 4], reserved[-1]
    assert pinned_later == pinned
    assert device_later <= device + (2 << 20)  # a late meeting of large batches may take one more segment


def test_a_consumer_that_keeps_every_batch_has_them_all_right(store):
    dataset, collate = BucketedDataset(store, batch_size=8), PaddingCollator(256)
    kept = list(StreamLoader(dataset, collate, device="cuda"))
    dataset.set_epoch(0)
    assert [content(batch) for batch in kept] == [content(batch) for batch in map(collate, dataset)]


def test_the_host_never_waits_for_the_device(store):
    loader = StreamLoader(BucketedDataset(store, batch_size=4), PaddingCollator(256), device="cuda", prefetch=8)
    iterator = iter(loader)
    next(iterator)
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # about a second of the consumer's stream
    begun = time.perf_counter()
    next(iterator)
    assert time.perf_counter() - begun < 0.5
    loader.close()


def test_pinned_batches_of_other_loaders(store):
    collate = PaddingCollator(256)
    dataset = BucketedDataset(store, batch_size=50)
    loader = DataLoader(dataset, batch_size=None, collate_fn=collate, pin_memory=True)
    for batch, host in zip(loader, map(collate, dataset), strict=True):
        assert all(tensor.is_pinned() for tensor in batch.values())
        assert content(batch.to("cuda", non_blocking=True)) == content(host)
    moved = prefetch_to_device(loader, "cuda")
    assert [content(batch) for batch in moved] == [content(batch) for batch in map(collate, dataset)]


def test_leaving_half_way_frees_everything(store):
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(50):
        loader = StreamLoader(BucketedDataset(store, batch_size=4), PaddingCollator(256), device="cuda")
        iterator = iter(loader)
        for _ in range(4):
            next(iterator)
        del loader, iterator
    gc.collect()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before


def test_a_pinned_buffer_that_its_loader_fills_again():
    def refilled():
        buffer = torch.empty(1 << 20, dtype=torch.int64, pin_memory=True)
        for number in range(50):
            yield buffer.fill_(number)

    moved = [batch.clone() for batch in prefetch_to_device(refilled(), "cuda", prefetch=8)]
    assert [batch.unique().tolist() for batch in moved] == [[number] for number in range(50)]


def test_a_device_that_is_not_there(store):
    dataset = BucketedDataset(store, batch_size=4)
    with pytest.raises(InputError, match=r"device 'cuda:99' is not here: torch sees \d+ CUDA device"):
        StreamLoader(dataset, PaddingCollator(0), device="cuda:99")
