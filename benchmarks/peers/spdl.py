"""Meta's SPDL: threads instead of processes, over a memory-mapped dataset."""

from functools import partial

from spdl.dataloader import DataLoader

from benchmarks.harness.mapped_rows import MappedRows, pad_rows, shuffled_batches, write_rows

# SPDL: "Building High-Performance DataLoaders": the sampler is the source, reading and collating are stages.
TITLE = "SPDL"
REQUIRES = ("spdl",)
RESUME = "skip"
NOTES = "workers are threads, at least 1; resuming slices the list of indices"

write = write_rows


def make(indices, *, rows, pad_token_id):
    return pad_rows([rows[i] for i in indices], pad_token_id=pad_token_id)


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    rows = MappedRows(directory)
    return DataLoader(
        shuffled_batches(len(rows), batch_size=batch_size, seed=seed)[start:],
        preprocessor=partial(make, rows=rows, pad_token_id=pad_token_id),
        num_threads=max(1, num_workers),
        output_order="input",
    )
