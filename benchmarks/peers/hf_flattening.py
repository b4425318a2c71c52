"""Hugging Face without padding: `DataCollatorWithFlattening` makes one row of each batch."""

from functools import partial

from transformers import DataCollatorWithFlattening

from benchmarks.peers.hf_datasets import batches_of
from benchmarks.peers.hf_datasets import write as write_with_labels

# transformers: "Data Collator"; "Padding-free transformers" asks for the kernel's arguments with it.
TITLE = "datasets, DataCollatorWithFlattening"
REQUIRES = ("datasets", "transformers", "accelerate")
RESUME = "skip"
NOTES = "one row without padding; gives the arguments of flash attention; faster without with_format('torch')"

write = partial(write_with_labels, labels=False)


def loader(directory, *, pad_token_id, **arguments):  # noqa: ARG001  # of the protocol
    collate = DataCollatorWithFlattening(return_flash_attn_kwargs=True)
    return batches_of(directory, collate, **arguments)
