"""The door to Trainer of Hugging Face transformers: a mixin that gives it loaders, and keeps their state."""

from __future__ import annotations

from typing import Any

from fastcollate.dataset.planned import PlannedDataset
from fastcollate.errors import InputError, PlanError
from fastcollate.loader.stream import StreamLoader
from fastcollate.trainers.accelerate import PreparedLoader
from fastcollate.trainers.framework import compare_ranks, framework
from fastcollate.trainers.trainer_epochs import TrainerEpochs, position_keeper
from fastcollate.trainers.trainer_steps import check_collator, check_steps, check_weights, targets_of_step

__all__ = ["StreamMixin"]

_COUNTS = "_get_num_items_in_batch"  # what Trainer calls to count the targets of an update


class StreamMixin:
    """`StreamMixin` makes a Trainer of transformers take a dataset and a collator of this library.

    `class MyTrainer(StreamMixin, Trainer): pass`, then `MyTrainer(model, args, train_dataset=dataset,
    eval_dataset=..., data_collator=PaddingCollator(...))`. The dataset decides how many rows a batch has, and
    `per_device_train_batch_size` says nothing. Each `checkpoint-N` has the position in its `trainer_state.json`,
    and `train(resume_from_checkpoint=...)` goes on there, without making what was trained on. Evaluation sets come
    in the order of epoch 0. Other datasets go the way that Trainer has for them.

    A dataset with `accumulate=gradient_accumulation_steps` plans each update as one step: ranks have equal work,
    and the targets of all of them are known without asking the others.

    Trainer counts as many batches in each epoch. Where epochs have different numbers (`max_tokens`, packs), it
    counts their mean, rounded up, and the stream goes on over the border: every record comes once in each epoch of
    the dataset, and training ends with fewer batches than it has epochs of the next one; a warning counts them.

    Raises:
        InputError: A collator or arguments that such a Trainer cannot honour.
        PlanError: The dataset has other ranks than those that take different batches.
        StateError: A checkpoint without a position.
        StateMismatchError: A rank, or the checkpoint, has another plan, arguments or corpus.
    """

    def get_train_dataloader(self) -> Any:
        """Return the loader of the training set, which compares all ranks first."""
        trainer: Any = self
        dataset = trainer.train_dataset
        if not isinstance(dataset, PlannedDataset):
            above: Any = super()
            return above.get_train_dataloader()
        args = trainer.args
        if args.auto_find_batch_size:
            raise InputError(
                "auto_find_batch_size=True cannot make the batches of this dataset smaller: leave it out, and "
                "give the dataset a smaller max_tokens or batch_size"
            )
        check_steps(trainer, dataset)
        keeper = position_keeper()
        trainer.remove_callback(keeper)
        trainer.add_callback(keeper)
        return TrainerEpochs(_loader(trainer, dataset), epochs=1 if args.max_steps > 0 else args.num_train_epochs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Return the targets of an update over all ranks, by which Trainer divides a sum of losses."""
        known = targets_of_step(self, batch_samples)
        return getattr(super(), _COUNTS)(batch_samples, device) if known is None else known

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the loader of an evaluation set, each pass of which is epoch 0."""
        trainer: Any = self
        above: Any = super()
        chosen = trainer.eval_dataset if eval_dataset is None else eval_dataset
        found = trainer.eval_dataset[chosen] if isinstance(chosen, str) else chosen
        if not isinstance(found, PlannedDataset):
            return above.get_eval_dataloader(eval_dataset)
        return _evaluation(trainer, found)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """Return the loader of a set to predict for, in the order of epoch 0."""
        if isinstance(test_dataset, PlannedDataset):
            return _evaluation(self, test_dataset)
        above: Any = super()
        return above.get_test_dataloader(test_dataset)

    def num_examples(self, dataloader: Any) -> int:
        """Return how many records a loader delivers in an epoch, over all ranks."""
        if isinstance(dataloader, TrainerEpochs | PreparedLoader):
            return len(dataloader.loader.dataset.corpus)
        above: Any = super()
        count: int = above.num_examples(dataloader)
        return count

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Return loss, logits and labels of a batch, with as many rows on every rank: -100 fills them up."""
        trainer: Any = self
        above: Any = super()
        loss, *outputs = above.prediction_step(model, inputs, prediction_loss_only, ignore_keys=ignore_keys)
        if trainer.args.world_size > 1 and isinstance(trainer.callback_handler.eval_dataloader, _Evaluation):
            padded = trainer.accelerator.pad_across_processes
            outputs = [None if part is None else padded(part, dim=0, pad_index=-100) for part in outputs]
        return loss, *outputs


class _Evaluation(PreparedLoader):
    """A loader of an evaluation set, whose records Trainer counts."""

    @property
    def dataset(self) -> Any:
        return self.loader.dataset.corpus


def _evaluation(trainer: Any, dataset: PlannedDataset[Any]) -> _Evaluation:
    """The loader of an evaluation set, made once; its position is its own, should it be trained on, too."""
    made: dict[int, tuple[Any, _Evaluation]] = vars(trainer).setdefault("_stream_evaluations", {})
    if id(dataset) not in made:
        loader = _loader(trainer, dataset)
        made[id(dataset)] = dataset, _Evaluation(loader, trainer.accelerator.gradient_state, evaluation=True)
    return made[id(dataset)][1]


def _loader(trainer: Any, dataset: PlannedDataset[Any]) -> StreamLoader:
    """The stream of a dataset to the device of a Trainer."""
    args, collator = trainer.args, trainer.data_collator
    check_collator(trainer, collator)
    check_weights(trainer, dataset)
    if trainer.get_sp_size() > 1:
        raise PlanError(
            "sequence parallelism by DeepSpeed cuts the batches of its own loaders alone: use cp instead"
        )
    peers = trainer.get_tp_size() * trainer.get_cp_size()
    if dataset.world_size * peers != args.world_size:
        raise PlanError(
            f"the dataset has {dataset.world_size} ranks, and {args.world_size // peers} of the Trainer's "
            f"{args.world_size} take different batches: give it rank=args.process_index // {peers}, "
            f"world_size=args.world_size // {peers}"
        )
    compare_ranks(dataset)
    if getattr(trainer.model, "loss_function", None) is framework("transformers.loss.loss_utils").ForCausalLMLoss:
        # Trainer tells by the name of the class whether the first label counts, and does not know GPT2LMHeadModel.
        vars(trainer)["_loss_shifts_labels"] = True
    return StreamLoader(dataset, collator, device=args.device, num_workers=args.dataloader_num_workers)
