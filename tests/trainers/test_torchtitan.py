"""torchtitan: what its trainer does with a loader: one endless iteration, saved by torch's checkpoints."""

from abc import ABC, abstractmethod
from itertools import islice

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from stores import write_store
from tiny import COLLATE, STEPS, Tiny, by_hand, corpus, dataset, evaluation, optimizer_of
from torch.distributed.checkpoint.stateful import Stateful

from fastcollate import (
    BucketedDataset,
    CollateError,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    PlanError,
    StateError,
)
from fastcollate.trainers.torchtitan import TitanLoader

ALIGNED = PaddingCollator(0)


class BaseDataLoader(Stateful, ABC):
    """The shape of torchtitan's."""

    @abstractmethod
    def __iter__(self): ...


class Loader(TitanLoader, BaseDataLoader):
    def __init__(self, *, dp_rank, dp_world_size, tokenizer=None, seq_len=16, local_batch_size=4, **_):
        def packs(**ranks):
            return PackedDataset(corpus(), length=seq_len, batch_size=local_batch_size, seed=2, **ranks)

        super().__init__(packs, PackingCollator(0), dp_rank=dp_rank, dp_world_size=dp_world_size)


def listed(batches):
    return [({name: t.tolist() for name, t in inputs.items()}, labels.tolist()) for inputs, labels in batches]


def test_two_ranks_train_as_the_loop_by_hand_does():
    model, losses = Tiny(), [[], []]
    optimizer = optimizer_of(model)
    loaders = [TitanLoader(dataset, ALIGNED, dp_rank=rank, dp_world_size=2) for rank in range(2)]
    for step in islice(zip(*loaders, strict=True), 2 * STEPS):
        optimizer.zero_grad()
        for found, (inputs, labels) in zip(losses, step, strict=True):
            loss = model(inputs["input"], labels)
            (loss / 2).backward()
            found.append(loss.item())
        optimizer.step()
    np.testing.assert_allclose(losses, by_hand(2, steps=2 * STEPS)[0], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_checkpoint_of_torch_resumes_at_the_step_on_another_number_of_ranks(tmp_path):
    def ranks(count):
        return [Loader(dp_rank=rank, dp_world_size=count) for rank in range(count)]

    alone = Loader(dp_rank=0, dp_world_size=1)
    epoch = len(alone.loader)
    whole = listed(islice(alone, 2 * epoch + 8))
    assert isinstance(alone, Stateful)
    for step in (2, epoch, epoch + 6):
        cut = Loader(dp_rank=0, dp_world_size=1)
        listed(islice(cut, step))
        dcp.save({"dataloader": cut}, checkpoint_id=tmp_path / str(step), no_dist=True)
        resumed = ranks(2)
        for loader in resumed:
            dcp.load({"dataloader": loader}, checkpoint_id=tmp_path / str(step), no_dist=True)
        if step % epoch:  # within the epoch; the next one is planned for as many ranks as this
            rest = [listed(islice(loader, 3)) for loader in resumed]
            assert [batch for pair in zip(*rest, strict=True) for batch in pair] == whole[step : step + 6]
        again = Loader(dp_rank=0, dp_world_size=1)
        dcp.load({"dataloader": again}, checkpoint_id=tmp_path / str(step), no_dist=True)
        assert listed(islice(again, epoch)) == whole[step : step + epoch]
    assert whole[:epoch] != whole[epoch : 2 * epoch]


def test_labels_are_the_next_tokens_of_the_same_document():
    inputs, labels = next(iter(Loader(dp_rank=0, dp_world_size=1)))
    ids, positions = inputs["input"], inputs["positions"]
    assert ids.shape == labels.shape == positions.shape == (4, 16)
    told = labels[:, :-1] != -100
    assert torch.equal(labels[:, :-1][told], ids[:, 1:][told])
    assert torch.equal(told & (positions[:, 1:] == 0), torch.zeros_like(told))
    assert (labels[:, -1] == -100).all()
    assert told.sum() > 40


def test_validation_comes_in_one_order_and_shifted_labels_are_not_shifted_again():
    given = evaluation()
    loader = TitanLoader(given, COLLATE, dp_rank=0, dp_world_size=1, infinite=False)
    next(iter(given))
    next(iter(loader))  # a pass that is left early
    first = listed(loader)
    assert len(first) == 20
    assert listed(loader) == first
    assert given.state_dict()["batch"] == 1  # who else reads the dataset is not disturbed
    assert [label for _, labels in first for row in labels for label in row if label != -100]
    batch = next(iter(loader))
    assert torch.equal(batch[1], next(iter(map(COLLATE, evaluation())))["labels"])


def test_what_is_no_batch_of_torchtitan_is_refused(tmp_path):
    for collate in (PackingCollator(0, layout="flat"), PackingCollator(0, layout="flat", keys="transformers")):
        with pytest.raises(CollateError, match="torchtitan's batches are rows: give a PackingCollator, whose"):
            TitanLoader(dataset, collate, dp_rank=0, dp_world_size=1)
    with pytest.raises(CollateError, match="torchtitan's batches have input_ids and labels"):
        next(iter(TitanLoader(dataset, PaddingCollator(0, labels=False), dp_rank=0, dp_world_size=1)))
    with pytest.raises(PlanError, match=r"the dataset is rank 0 of 1, and torchtitan says rank 1 of 2"):
        TitanLoader(dataset(), ALIGNED, dp_rank=1, dp_world_size=2)
    weighted = BucketedDataset(write_store(tmp_path / "store", [4, 5], spans=True, weights=[0.5]), batch_size=2)
    with pytest.raises(CollateError, match="the records have weights, and torchtitan's loss knows none"):
        next(iter(TitanLoader(weighted, PaddingCollator(0, supervise="response"), dp_rank=0, dp_world_size=1)))
    with pytest.raises(StateError, match="the state of the loader is empty"):
        TitanLoader(dataset, ALIGNED, dp_rank=0, dp_world_size=1).load_state_dict({})
