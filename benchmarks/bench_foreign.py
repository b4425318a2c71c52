"""Epochs over other programs' files, read in place, against the same records in a store."""

import io
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.harness.corpora import make_store
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader, open_corpus

AT_ONCE = 1_000  # rows of a record batch, as `datasets` writes them


def write_arrow(path, store, dtype):
    kind = pa.list_(pa.from_numpy_dtype(dtype))
    with pa.ipc.new_stream(path, pa.schema({"input_ids": kind})) as writer:
        for first in range(0, len(store), AT_ONCE):
            rows = store.take(np.arange(first, min(first + AT_ONCE, len(store))))
            lists = pa.ListArray.from_arrays(rows.offsets.astype(np.int32), pa.array(rows.values.astype(dtype)))
            writer.write_batch(pa.record_batch({"input_ids": lists.cast(kind)}))


def write_parquet(path, store):
    write_arrow(path.with_suffix(".arrow"), store, np.int32)
    with pa.memory_map(str(path.with_suffix(".arrow"))) as file:
        pq.write_table(pa.ipc.open_stream(file).read_all(), path)


def write_tar(path, store):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(store):
            member, info = io.BytesIO(), tarfile.TarInfo(f"{number:08d}.npy")
            np.save(member, row)
            info.size = member.tell()
            member.seek(0)
            tar.addfile(info, member)


FORMATS = {
    "Arrow, int32": ("a.arrow", lambda path, store: write_arrow(path, store, np.int32)),
    "Arrow, int64, copied": ("a.arrow", lambda path, store: write_arrow(path, store, np.int64)),
    "Parquet, in memory": ("a.parquet", write_parquet),
    "WebDataset": ("a.tar", write_tar),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_foreign_files_stream_as_a_store_does(race, figure, sized, tmp_path, kind):
    store = make_store(tmp_path / "store", "short", sized(200_000, 20_000, 1_000))
    name, write = FORMATS[kind]
    write(tmp_path / name, store)
    begun = time.perf_counter()
    corpus = open_corpus(tmp_path / name)
    figure(f"opening {kind}, {len(store)} records", time.perf_counter() - begun, "s")
    collate = PaddingCollator(256)

    def epoch(source):
        with StreamLoader(BucketedDataset(source, batch_size=32), collate) as loader:
            for _ in loader:
                pass

    for found, wanted in zip(*(BucketedDataset(each, batch_size=32) for each in (corpus, store)), strict=True):
        assert all(torch.equal(value, collate(wanted)[key]) for key, value in collate(found).items())
    race(f"a store, {kind}: batch 32", store.num_tokens, lambda: epoch(store), lambda: epoch(corpus))
