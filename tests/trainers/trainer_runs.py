"""A Trainer on a tiny GPT-2, in this process or as one of several: `python trainer_runs.py '{"out": ...}'`."""

import importlib.util
import json
import logging
import os
import signal
import sys

try:
    importlib.util.find_spec("torchvision") and importlib.import_module("torchvision")
except RuntimeError:  # built for another torch: transformers would import it
    sys.modules["torchvision"] = None

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from fastcollate import BucketedDataset, PaddingCollator, Ragged, StreamLoader
from fastcollate.trainers.hugging_face import StreamMixin

RECORDS = 100
COLLATE = PaddingCollator(0)
logging.getLogger("transformers").setLevel(logging.ERROR)


class StreamTrainer(StreamMixin, Trainer):
    pass


class Watched(GPT2LMHeadModel):
    """Notes the records of each batch: every token of record `i` is `i + 1`, and a filler row has none."""

    def forward(self, **given):
        rows = [i for i in given["input_ids"][:, 0].tolist() if i]
        self.seen["train" if self.training else "eval"].append(rows)
        return super().forward(**given)


class Ending(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def model():
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": RECORDS + 1, "n_positions": 64}
    nothing = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    made = Watched(GPT2Config(**sizes, **nothing, bos_token_id=0, eos_token_id=0))
    made.seen = {"train": [], "eval": []}
    return made


def rows():
    return Ragged.from_rows([[i + 1] * (2 + i * i % 11) for i in range(RECORDS)])


def dataset(**given):
    return BucketedDataset(rows(), **{"batch_size": 4, "seed": 1, **given})


def trainer(out, *, train=None, collate=COLLATE, callbacks=(), **given):
    usual = {"num_train_epochs": 2, "save_steps": 1000, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "logging_steps": 1}
    args = TrainingArguments(out, lr_scheduler_type="constant", **{**usual, **quiet, **given})
    data = {"train_dataset": dataset() if train is None else train, "data_collator": collate}
    evaluation = BucketedDataset(rows(), batch_size=16, seed=2)
    return StreamTrainer(model(), args, **data, eval_dataset=evaluation, callbacks=list(callbacks))


def run(out, *, kill=None, resume=None, accumulate=1, **given):
    """The records of each batch that this process saw, and the loss that Trainer logged for each update."""
    given.setdefault("train", dataset(accumulate=accumulate))
    made = trainer(out, callbacks=[] if kill is None else [Ending(kill)], **given)
    made.train(resume_from_checkpoint=resume)
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    return {**made.model.seen, "losses": losses, "steps": made.state.global_step}


def by_hand(*, world_size=1, accumulation=1, updates=50):
    """The mean loss over all targets of each update, of a loop written by hand."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    ranks = [StreamLoader(dataset(rank=rank, world_size=world_size), COLLATE) for rank in range(world_size)]
    passes = [iter(loader) for loader in ranks]
    while len(losses) < updates:
        batches = []
        for _ in range(accumulation):
            found = [next(batches, None) for batches in passes]
            if found[0] is not None:
                batches += found
        if len(batches) < accumulation * world_size:  # the epoch is over, after what it had left
            passes = [iter(loader) for loader in ranks]
        if batches:
            targets = sum(batch.num_supervised for batch in batches)
            loss = sum(net(**batch, num_items_in_batch=targets).loss for batch in batches)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(run(**json.loads(sys.argv[1]))) + "\n")
