"""This library: whole documents packed into rows of 2048 tokens."""

from benchmarks.harness.mapped_rows import copy_store
from benchmarks.harness.states import state_after
from fastcollate import PackedDataset, PackingCollator, StreamLoader, TokenStore

# README: "Pack it instead".
TITLE = "fastcollate, packed"
REQUIRES = ()
RESUME = "state"
NOTES = "a batch is batch_size / 16 packs of 2048: about as many tokens as batch_size short records"

LENGTH = 2048

write = copy_store


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    packs = max(1, batch_size // 16)
    dataset = PackedDataset(TokenStore(directory), length=LENGTH, batch_size=packs, overlong="split", seed=seed)
    batches = StreamLoader(dataset, PackingCollator(pad_token_id), num_workers=num_workers)
    if start:
        batches.load_state_dict(start)
    return batches


def checkpoint(directory, *, batches, **arguments):
    return state_after(loader(directory, **arguments).dataset, batches)
