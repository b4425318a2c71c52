"""This library: a `StreamLoader` over length-bucketed batches."""

from benchmarks.harness.mapped_rows import copy_store
from benchmarks.harness.states import state_after
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader, TokenStore

# README: "Stream a corpus".
TITLE = "fastcollate"
REQUIRES = ()
RESUME = "state"
NOTES = "batches are of similar lengths, from windows of 65,536 shuffled records"

write = copy_store


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    dataset = BucketedDataset(TokenStore(directory), batch_size=batch_size, seed=seed)
    batches = StreamLoader(dataset, PaddingCollator(pad_token_id), num_workers=num_workers)
    if start:
        batches.load_state_dict(start)
    return batches


def checkpoint(directory, *, batches, **arguments):
    return state_after(loader(directory, **arguments).dataset, batches)
