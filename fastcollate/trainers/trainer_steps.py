"""What Trainer of transformers can honour of collators and steps, and an update's targets over all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch

from fastcollate.collate.batch import Batch
from fastcollate.collate.packing import PackingCollator
from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import InputError
from fastcollate.loader.feeds import counter_of
from fastcollate.trainers.framework import framework

__all__ = ["check_collator", "check_steps", "check_weights", "targets_of_step"]


def check_collator(trainer: Any, collator: Any) -> None:
    """Refuse a collator whose batches a model would learn something else from.

    Raises:
        InputError: It is none of this library, or has options that do not suit a Trainer.
    """
    name = type(collator).__name__
    if str(getattr(collator, "__module__", "")).startswith("transformers."):
        raise InputError(
            "the data_collator is one of transformers, for lists of dicts: give data_collator=PaddingCollator(...)"
        )
    if getattr(collator, "as_tuple", False):
        raise InputError(
            f"{name}(as_tuple=True) makes a tuple: leave as_tuple out, Trainer takes a batch by names"
        )
    of_library = isinstance(trainer.model, framework("transformers").PreTrainedModel)
    if of_library and getattr(collator, "shift_labels", False) and trainer.compute_loss_func is None:
        raise InputError(
            f"{name}(shift_labels=True) in a Trainer: the models of transformers shift labels themselves, and "
            "would learn the token after the next; leave shift_labels out"
        )
    if of_library and isinstance(collator, PackingCollator) and collator.keys != "transformers":
        raise InputError(
            f"{name}(keys={collator.keys!r}) in a Trainer: the documents of a row may see each other in a model "
            'of transformers; write keys="transformers"'
        )


def check_weights(trainer: Any, dataset: PlannedDataset[Any]) -> None:
    """Refuse records whose targets weigh otherwise than 1, where the loss is the model's own.

    Raises:
        InputError: Nobody would multiply the losses by the weights.
    """
    if "weights" not in dataset.corpus.columns:
        return
    whose = type(trainer).compute_loss.__module__.partition(".")[0]
    if whose in {"transformers", "trl"} and "loss_weights" not in signature(trainer.model.forward).parameters:
        raise InputError(
            "the records have weights, and neither Trainer nor its model looks at them: override compute_loss, "
            "which finds them in inputs['loss_weights'], or prepare the records without weights"
        )


def check_steps(trainer: Any, dataset: PlannedDataset[Any]) -> None:
    """Refuse steps of a dataset that are not the updates of a Trainer.

    Raises:
        InputError: The dataset plans steps of several batches, and Trainer makes updates of another number.
    """
    updates = trainer.args.gradient_accumulation_steps
    if dataset.accumulate not in {1, updates}:
        raise InputError(
            f"the dataset has accumulate={dataset.accumulate}, and gradient_accumulation_steps is {updates}: an "
            "update would be another number of batches than a step is planned for; give both the same"
        )


def targets_of_step(trainer: Any, batches: Sequence[Any]) -> torch.Tensor | None:
    """Return the targets of an update over all ranks as the plan knows them; None where Trainer is to count them.

    It counts where the batches are no step that was planned, where a collator does more than ours do, and where
    each rank divides by its own targets.
    """
    args, dataset = trainer.args, trainer.train_dataset
    planned = isinstance(dataset, PlannedDataset) and dataset.accumulate == len(batches) > 1
    if not planned or counter_of(trainer.data_collator) is None:
        return None
    if any(not isinstance(b, Batch) or b.micro != i or "labels" not in b for i, b in enumerate(batches)):
        return None
    asked = trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None
    if not (asked and args.average_tokens_across_devices and args.n_gpu <= 1):
        return None
    return torch.tensor(batches[-1].step_num_supervised, device=args.device)
