"""Hugging Face, records of similar length together: `LengthGroupedSampler` and `DataCollatorForSeq2Seq`."""

from functools import partial

import torch
from accelerate import skip_first_batches
from datasets import load_from_disk
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import LengthGroupedSampler

from benchmarks.peers.hf_datasets import make_collator
from benchmarks.peers.hf_datasets import write as write_columns

# transformers: TrainingArguments, group_by_length and length_column_name, "to minimize padding".
TITLE = "datasets, group_by_length"
REQUIRES = ("transformers", "datasets", "accelerate")
RESUME = "skip"
NOTES = "lengths are a column of the dataset; sorts groups of 50 batches"


write = partial(write_columns, lengths=True)


def loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0):
    rows = load_from_disk(directory)
    generator = torch.Generator().manual_seed(seed)
    batches = DataLoader(
        rows.remove_columns("length"),
        batch_size=batch_size,
        sampler=LengthGroupedSampler(batch_size, lengths=rows["length"][:], generator=generator),
        collate_fn=make_collator(pad_token_id),
        num_workers=num_workers,
    )
    return skip_first_batches(batches, start) if start else batches
