"""Hugging Face: a `datasets.Dataset` on disk, `DataCollatorForSeq2Seq`, resumed as the Trainer resumes."""

import numpy as np
import pyarrow as pa
import torch
from accelerate import skip_first_batches
from datasets import Dataset, load_from_disk
from datasets.table import InMemoryTable
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.data import DataLoader
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast

# datasets: "Use with PyTorch"; transformers: "Data Collator"; accelerate: "Checkpointing", resuming in an epoch.
TITLE = "datasets, DataCollatorForSeq2Seq"
REQUIRES = ("datasets", "transformers", "accelerate")
RESUME = "skip"
NOTES = "accelerate.skip_first_batches skips indices, not records; faster without with_format('torch')"


def write(store, directory, *, labels=True, lengths=False):
    rows = store.take(np.arange(len(store)))
    column = pa.ListArray.from_arrays(rows.offsets.astype(np.int32), rows.values)
    columns = {"input_ids": column} | ({"labels": column} if labels else {})
    columns |= {"length": pa.array(rows.lengths)} if lengths else {}
    Dataset(InMemoryTable(pa.table(columns))).save_to_disk(directory)


def batches_of(directory, collate, *, batch_size, num_workers, seed, start=0, kind=None):
    """A `DataLoader` over the dataset in its format `kind`, shuffled, from batch `start` on."""
    batches = DataLoader(
        load_from_disk(directory).with_format(kind),
        batch_size=batch_size,
        shuffle=True,
        collate_fn=collate,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(seed),
    )
    return skip_first_batches(batches, start) if start else batches


def make_collator(pad_token_id):
    vocabulary = Tokenizer(WordLevel({"<pad>": pad_token_id}, unk_token="<pad>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="<pad>", padding_side="right")
    return DataCollatorForSeq2Seq(tokenizer)


def loader(directory, *, pad_token_id, **arguments):
    return batches_of(directory, make_collator(pad_token_id), **arguments)
