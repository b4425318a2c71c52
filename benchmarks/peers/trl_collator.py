"""TRL's `SFTTrainer`: its collator over a tokenised `datasets.Dataset`."""

from functools import partial

from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from benchmarks.peers.hf_datasets import batches_of
from benchmarks.peers.hf_datasets import write as write_with_labels

# TRL: "SFT Trainer", the default collator of a language-modelling dataset.
TITLE = "TRL DataCollatorForLanguageModeling"
REQUIRES = ("trl", "datasets", "transformers", "accelerate")
RESUME = "skip"
NOTES = "accelerate.skip_first_batches skips indices, not records; with_format('torch') makes it faster"

write = partial(write_with_labels, labels=False)


def loader(directory, *, pad_token_id, **arguments):
    return batches_of(directory, DataCollatorForLanguageModeling(pad_token_id), kind="torch", **arguments)
