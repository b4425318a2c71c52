"""An epoch through each trainer's door, against what the trainer's own pipeline makes of the same records.

Both deliver padded batches of 32 shuffled records with labels; nothing is trained.
"""

import logging

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from benchmarks.harness.corpora import make_store
from benchmarks.harness.delivered import check_delivered
from fastcollate import BucketedDataset, PaddingCollator, StreamLoader

ROWS = 32
PAD = 256
COLLATE = PaddingCollator(PAD)

pytestmark = pytest.mark.filterwarnings("ignore")  # what others' imports warn of is no failure of ours
logging.getLogger("transformers").setLevel(logging.ERROR)


def padded(rows):
    """What users write for a plain `DataLoader`: lists of ids padded, masked, and copied as labels."""
    ids = pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True, padding_value=PAD)
    mask = pad_sequence([torch.ones(len(row["input_ids"]), dtype=torch.int64) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def as_lists(store):
    datasets = pytest.importorskip("datasets", reason="needs the extra trainers")
    return datasets.Dataset.from_dict({"input_ids": [row.tolist() for row in store]})


def tokenizer():
    """A tokenizer of transformers that need do no more than pad."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    words = {str(number): number for number in range(PAD)} | {"[PAD]": PAD}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[PAD]"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", eos_token="[PAD]")


def model():
    transformers = pytest.importorskip("transformers", reason="needs the extra trainers")
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 8, "vocab_size": PAD + 1, "n_positions": 8192}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=PAD, eos_token_id=PAD))


QUIET = {"report_to": [], "use_cpu": True, "per_device_train_batch_size": ROWS}


def through_transformers(store, home):
    transformers = pytest.importorskip("transformers", reason="needs the extra trainers")
    from fastcollate.trainers.hugging_face import StreamMixin  # noqa: PLC0415  # the extra may be missing

    class StreamTrainer(StreamMixin, transformers.Trainer):
        pass

    args = transformers.TrainingArguments(str(home), **QUIET)
    plain = transformers.DataCollatorForLanguageModeling(tokenizer(), mlm=False)
    theirs = transformers.Trainer(model(), args, data_collator=plain, train_dataset=as_lists(store))
    ours = BucketedDataset(store, batch_size=ROWS)
    mine = StreamTrainer(model(), args, data_collator=COLLATE, train_dataset=ours)
    return theirs.get_train_dataloader(), mine.get_train_dataloader()


def through_trl(store, home):
    trl = pytest.importorskip("trl", reason="needs the extra trainers")
    from fastcollate.trainers.trl import as_dataset  # noqa: PLC0415

    def made(dataset, collate, **given):
        config = trl.SFTConfig(str(home), max_length=None, **QUIET, **given)
        return trl.SFTTrainer(
            model(), config, train_dataset=dataset, processing_class=tokenizer(), data_collator=collate
        ).get_train_dataloader()

    skipping = {"dataset_kwargs": {"skip_prepare_dataset": True}}
    return made(as_lists(store), None), made(as_dataset(store), COLLATE, **skipping)


def through_accelerate(store, home):  # noqa: ARG001
    accelerate = pytest.importorskip("accelerate", reason="needs the extra trainers")
    from fastcollate.trainers.accelerate import prepare_loader  # noqa: PLC0415

    accelerator = accelerate.Accelerator(cpu=True)
    theirs = DataLoader(as_lists(store), batch_size=ROWS, shuffle=True, collate_fn=padded)
    mine = StreamLoader(BucketedDataset(store, batch_size=ROWS), COLLATE, device=accelerator.device)
    return accelerator.prepare(theirs), prepare_loader(accelerator, mine)


def through_lightning(store, home):  # noqa: ARG001
    pytest.importorskip("lightning", reason="needs the extra trainers")
    from fastcollate.trainers.lightning import StreamDataModule  # noqa: PLC0415

    mine = StreamDataModule(BucketedDataset(store, batch_size=ROWS), COLLATE)
    return DataLoader(as_lists(store), batch_size=ROWS, shuffle=True, collate_fn=padded), mine.train_dataloader()


DOORS = {
    "transformers' Trainer": through_transformers,
    "TRL's SFTTrainer": through_trl,
    "Accelerate": through_accelerate,
    "Lightning": through_lightning,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_beside_its_trainers_own_pipeline(race, sized, tmp_path, door):
    store = make_store(tmp_path / "store", "short", sized(20_000, 5_000, 200))
    theirs, mine = DOORS[door](store, tmp_path / "run")
    for loader in (theirs, mine):
        check_delivered(list(loader), store, pad_token_id=PAD)

    def epoch(loader):
        for _ in loader:
            pass

    case = f"the pipeline of {door}: batch {ROWS}"
    row = race(case, store.num_tokens, lambda: epoch(theirs), lambda: epoch(mine))
    assert sized(row["ratio"], row["ratio"], 2) > 1
