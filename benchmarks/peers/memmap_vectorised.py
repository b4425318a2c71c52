"""Shuffled indices, gathered from the memory-mapped store and handed to this library's collator; no bucketing."""

from functools import partial

from torch.utils.data import DataLoader

from benchmarks.harness.mapped_rows import copy_store, shuffled_batches
from fastcollate import PaddingCollator, TokenStore

TITLE = "memory map, our collator, unbucketed"
REQUIRES = ()
RESUME = "skip"
NOTES = "resuming slices the list of indices"

write = copy_store


def make(indices, *, records, collate):
    return collate(records.gather(indices))


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    store = TokenStore(directory)
    batches = shuffled_batches(len(store), batch_size=batch_size, seed=seed)[start:]
    collate = partial(make, records=store.at_epoch(seed, 0), collate=PaddingCollator(pad_token_id))
    if num_workers == 0:
        return map(collate, batches)
    return DataLoader(batches, batch_size=None, collate_fn=collate, num_workers=num_workers)
