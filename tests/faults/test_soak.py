"""Epoch after epoch, many of which end badly: nothing is left of them, however long it goes on.

`FASTCOLLATE_SOAK=3600` goes on for an hour instead of ten seconds.
"""

import gc
import itertools
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from stores import lognormal_lengths, write_store

from fastcollate import (
    BucketedDataset,
    FastCollateError,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    StreamLoader,
    TokenStore,
    mix,
    prefetch_to_device,
)

SECONDS = float(os.environ.get("FASTCOLLATE_SOAK", "10"))
WARM = 3  # rounds in which caches fill
MOST = 4 << 20  # bytes by which memory may differ from round to round: the allocator's own

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 120),
    pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc"),
]


def held():
    """What this process has: open files, threads, maps of files, and blocks of shared memory."""
    gc.collect()
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if "/store" in line]
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "maps": len(maps),
        "shared": sorted(path.name for path in Path("/dev/shm").glob("*fastcollate*")),
    }


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Failing(PaddingCollator):
    """A collator that fails at its third batch."""

    def collate(self, parcel, allocate):
        self.made = getattr(self, "made", 0) + len(parcel)
        if self.made > 3:
            raise ValueError("a collator of somebody else")
        return super().collate(parcel, allocate)


def one_round(path, number):
    """Epochs that end, that are left, that fail, and a store that is damaged under its reader."""
    store, padded = TokenStore(path), PaddingCollator(256)
    rows = BucketedDataset(store, batch_size=20, seed=number)
    for _ in StreamLoader(rows, padded, num_workers=number % 2):
        pass
    for _ in itertools.islice(StreamLoader(rows, padded, prefetch=3), 5):
        pass
    for _ in itertools.islice(prefetch_to_device(map(padded, rows), "cpu"), 5):
        pass
    packs = StreamLoader(PackedDataset(mix([(store, 1.5)]), length=256), PackingCollator(256), transfer="ragged")
    packs.load_state_dict(packs.state_dict())
    for _ in packs:
        pass
    with pytest.raises(ValueError, match="somebody else"):
        list(StreamLoader(rows, Failing(256), num_workers=number % 2))
    damaged = path.with_name("store-damaged")
    shutil.copytree(path, damaged)
    file = next(damaged.glob("shard-00001.arrow"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    with suppress(FastCollateError):
        list(BucketedDataset(TokenStore(damaged), batch_size=20))
    shutil.rmtree(damaged)


def test_nothing_is_left_however_long_it_goes_on(tmp_path):
    path = tmp_path / "store"
    write_store(path, lognormal_lengths(1500), records_per_shard=500, spans=True)
    for number in range(WARM):
        one_round(path, number)
    before, memory, end = held(), [], time.monotonic() + SECONDS
    number = WARM
    while time.monotonic() < end or len(memory) < 4:
        one_round(path, number)
        memory.append(resident())
        number += 1
    assert held() == before
    half = len(memory) // 2
    assert np.median(memory[half:]) - np.median(memory[:half]) < MOST
