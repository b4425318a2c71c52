"""TRL packed: `pack_dataset`, once, and its collator over the packs."""

from datasets import load_from_disk
from trl import pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from benchmarks.peers.hf_datasets import batches_of
from benchmarks.peers.hf_datasets import write as write_rows

# TRL: "SFT Trainer", packing, which makes batches padding-free; its default, "bfd", would drop long records' ends.
TITLE = "TRL pack_dataset"
REQUIRES = ("trl", "datasets", "transformers", "accelerate")
RESUME = "skip"
NOTES = "packed once, before the clock, not anew each epoch; a batch is batch_size / 16 packs of 2048 as one row"

LENGTH = 2048


def write(store, directory):
    rows = directory.with_name(f"{directory.name}.rows")
    write_rows(store, rows, labels=False)
    pack_dataset(load_from_disk(rows), seq_length=LENGTH, strategy="bfd_split").save_to_disk(directory)


def loader(directory, *, batch_size, pad_token_id, **arguments):
    collate = DataCollatorForLanguageModeling(pad_token_id, padding_free=True)
    return batches_of(directory, collate, batch_size=max(1, batch_size // 16), kind="torch", **arguments)
