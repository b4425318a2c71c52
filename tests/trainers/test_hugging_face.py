"""Trainer of transformers with `StreamMixin`: two whole epochs, exact resume, the losses of a loop by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from scripts import on_two_ranks

from fastcollate import (
    BucketedDataset,
    CollateError,
    InputError,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    PlanError,
    Ragged,
    StateError,
    StateMismatchError,
    StoreWriter,
    StreamLoader,
    TokenStore,
)
from fastcollate.trainers import hugging_face

transformers = pytest.importorskip("transformers", reason="needs the extra trainers")
accelerate = pytest.importorskip("accelerate", reason="needs the extra trainers")
SHIFTED = PaddingCollator(0, shift_labels=True)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
SCRIPT = Path(__file__).with_name("trainer_runs.py")


@pytest.fixture(scope="module")
def runs():
    import trainer_runs

    return trainer_runs


def records(batches):
    return sorted(record for batch in batches for record in batch)


def seen_by_two(*, dies=False, **given):
    """What two processes saw that train together; `dies` says that they are killed."""
    outputs, codes = on_two_ranks(SCRIPT, json.dumps(given), seconds=200)
    if dies:
        assert all(codes)
        return None
    assert codes == [0, 0]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """A run of two epochs, which evaluates in the middle of them."""
    return runs.run(str(tmp_path_factory.mktemp("run")), eval_strategy="steps", eval_steps=10)


def test_two_epochs_come_whole_in_two_orders_with_the_losses_of_a_loop_by_hand(runs, whole):
    first, second = whole["train"][:25], whole["train"][25:]
    assert records(first) == records(second) == list(range(1, 101))
    assert first != second
    assert whole["losses"] == pytest.approx(runs.by_hand(), abs=1e-6)


def test_evaluation_has_one_order(whole):
    passes = [whole["eval"][i : i + 7] for i in range(0, 35, 7)]
    assert len(whole["eval"]) == 35
    assert records(passes[0]) == list(range(1, 101))
    assert all(found == passes[0] for found in passes)


@pytest.mark.parametrize(("step", "accumulation"), [(8, 1), (25, 1), (33, 1), (5, 3), (12, 3)])
def test_a_run_is_resumed_without_a_batch_skipped_or_repeated(runs, whole, tmp_path, step, accumulation):
    out, given = str(tmp_path), {"gradient_accumulation_steps": accumulation}
    begun = runs.run(out, max_steps=step, save_steps=step, **given)
    resumed = runs.run(out, resume=f"{out}/checkpoint-{step}", **given)
    updates = -(-25 // accumulation)
    assert len(begun["train"]) == step // updates * 25 + step % updates * accumulation
    assert begun["train"] + resumed["train"] == whole["train"]
    assert resumed["steps"] == 2 * updates
    expected = runs.by_hand(accumulation=accumulation, updates=2 * updates)
    assert resumed["losses"] == pytest.approx(expected, abs=1e-6)


def test_max_steps_end_in_the_middle_of_an_epoch(runs, whole, tmp_path):
    assert runs.run(str(tmp_path), max_steps=30)["train"] == whole["train"][:30]


def lengths_of(train, *, epochs):
    """The batches of each epoch; the first is the next again."""
    found = []
    for epoch in range(epochs):
        train.set_epoch(epoch)
        found.append(len(train))
    train.set_epoch(0)
    return found


def test_epochs_of_unlike_lengths_miss_no_record(runs, tmp_path):
    train = runs.dataset(batch_size=None, max_tokens=30, window=16)
    lengths = lengths_of(train, epochs=4)
    assert len(set(lengths)) > 1
    found = runs.trainer(str(tmp_path), train=train, num_train_epochs=4)
    with pytest.warns(UserWarning, match=r"the epochs of this dataset have .* batches; Trainer counts"):
        found.train()
    seen, begin = found.model.seen["train"], 0
    for length in lengths:
        assert records(seen[begin : begin + length]) == list(range(1, 101))
        begin += length
    assert 0 <= len(seen) - sum(lengths) < 4


@pytest.mark.timeout(400)
def test_two_ranks_share_the_records_and_a_killed_run_goes_on(runs, tmp_path):
    given = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 5}
    whole = seen_by_two(out=str(tmp_path / "whole"), **given)
    for epoch in (slice(0, 13), slice(13, 26)):
        assert records(whole[0]["train"][epoch] + whole[1]["train"][epoch]) == list(range(1, 101))
    expected = runs.by_hand(world_size=2, accumulation=2, updates=14)
    assert whole[0]["losses"] == pytest.approx(expected, abs=1e-6)
    out = str(tmp_path / "killed")
    seen_by_two(out=out, kill=11, dies=True, save_steps=4, **given)
    resumed = seen_by_two(out=out, resume=f"{out}/checkpoint-8", save_steps=4, **given)
    for before, after in zip(whole, resumed, strict=True):
        assert after["train"] == before["train"][15:]  # 7 updates are the 13 batches of an epoch
    assert resumed[0]["losses"] == pytest.approx(expected, abs=1e-6)


def steps_by_hand(runs, *, world_size, accumulate, epochs):
    """The records of each rank's batches, and the mean loss over the targets of each step."""
    net = runs.model()
    optimizer = runs.torch.optim.SGD(net.parameters(), lr=0.1)
    datasets = [
        runs.dataset(rank=rank, world_size=world_size, accumulate=accumulate) for rank in range(world_size)
    ]
    loaders = [StreamLoader(dataset, runs.COLLATE) for dataset in datasets]
    losses, seen = [], [[] for _ in loaders]
    for _ in range(epochs):
        for first, step in enumerate(zip(*loaders, strict=True)):
            for found, batch in zip(seen, step, strict=True):
                found.append([i + 1 for i in batch.record_ids.tolist() if i >= 0])
            loss = sum(net(**batch, num_items_in_batch=batch.step_num_supervised).loss for batch in step)
            loss.backward()
            losses.append(loss.item())
            if (first + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    return seen, [sum(losses[i : i + accumulate]) for i in range(0, len(losses), accumulate)]


def test_steps_that_are_planned_divide_by_what_the_plan_knows(runs, tmp_path, monkeypatch):
    seen, expected = steps_by_hand(runs, world_size=1, accumulate=3, epochs=2)
    own = runs.StreamTrainer.__mro__[2]
    counted = []
    count = own._get_num_items_in_batch
    monkeypatch.setattr(own, "_get_num_items_in_batch", lambda *given: counted.append(given) or count(*given))
    found = runs.run(str(tmp_path), train=runs.dataset(accumulate=3), gradient_accumulation_steps=3)
    assert [sorted(batch) for batch in found["train"]] == [sorted(batch) for batch in seen[0]]
    assert found["losses"] == pytest.approx(expected, abs=1e-6)
    assert not counted


def told_and_counted(runs, monkeypatch, out, **given):
    """Of each update what the plan says its targets are, None where it says nothing, and what its labels hold."""
    found, known = [], hugging_face.targets_of_step

    def watched(trainer, batches):
        told = known(trainer, batches)
        counted = sum(int((batch["labels"][..., 1:] != -100).sum()) for batch in batches)
        found.append((None if told is None else int(told), counted))
        return told

    monkeypatch.setattr(hugging_face, "targets_of_step", watched)
    runs.run(str(out), gradient_accumulation_steps=2, **given)
    return found


def test_epochs_of_unlike_numbers_of_steps_count_what_they_have(runs, tmp_path, monkeypatch):
    train = runs.dataset(batch_size=None, max_tokens=30, window=16, accumulate=2)
    assert len(set(lengths_of(train, epochs=3))) > 1
    found = told_and_counted(runs, monkeypatch, tmp_path, train=train, num_train_epochs=3)
    assert len(found) > 20
    assert all(told == counted for told, counted in found)


def test_labels_that_a_collator_changes_are_counted_by_trainer(runs, tmp_path, monkeypatch):
    class Cut(PaddingCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            batch["labels"][:, :3] = -100
            return batch

    given = {"train": runs.dataset(accumulate=2), "num_train_epochs": 1}
    found = told_and_counted(runs, monkeypatch, tmp_path, collate=Cut(0), **given)
    assert {told for told, _ in found} == {None}
    assert sum(counted for _, counted in found) > 100  # of some updates nothing is left


@pytest.mark.timeout(400)
def test_two_ranks_divide_by_the_targets_of_both(runs, tmp_path):
    seen, expected = steps_by_hand(runs, world_size=2, accumulate=2, epochs=1)
    given = {"gradient_accumulation_steps": 2, "num_train_epochs": 1, "accumulate": 2}
    found = seen_by_two(out=str(tmp_path), **given)
    for rank in range(2):
        assert [sorted(batch) for batch in found[rank]["train"]] == [sorted(batch) for batch in seen[rank]]
    assert found[0]["losses"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (
            {"collate": SHIFTED},
            InputError,
            "shift_labels=True.*leave shift_labels out",
        ),
        ({"collate": PaddingCollator(0, as_tuple=True)}, InputError, "as_tuple=True.*leave as_tuple out"),
        ({"collate": None}, InputError, "one of transformers.*give data_collator=PaddingCollator"),
        ({"collate": PackingCollator(0)}, InputError, "keys='plain'.*write keys=\"transformers\""),
        ({"auto_find_batch_size": True}, InputError, "auto_find_batch_size=True.*a smaller max_tokens"),
        ({"steps": 3}, InputError, r"accumulate=3, and gradient_accumulation_steps is 1: .* give both the same"),
        ({"ranks": 2}, PlanError, r"2 ranks, and 1 of the Trainer's 1 .*rank=args.process_index // 1"),
    ],
    ids=["shifted", "tuple", "default", "plain packs", "batch size", "steps", "ranks"],
)
def test_what_a_trainer_cannot_honour_is_refused(runs, tmp_path, given, error, says):
    ranks, steps = given.pop("ranks", None), given.pop("steps", 1)
    train = runs.dataset(accumulate=steps) if ranks is None else runs.dataset(rank=0, world_size=ranks)
    with pytest.raises(error, match=says):
        runs.trainer(str(tmp_path), train=train, **given).train()


def test_weights_want_a_loss_that_knows_them(runs, tmp_path):
    rows = [[1, 2, 3], [4, 5]]
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        spans, weights = Ragged.from_rows([[1, 3], [0, 2]]), np.array([0.5, 1], np.float32)
        writer.append(Ragged.from_rows(rows), spans, columns={"weights": weights})
    dataset = BucketedDataset(TokenStore(tmp_path / "store"), batch_size=2)
    with pytest.raises(InputError, match=r"the records have weights.*override compute_loss.*loss_weights"):
        runs.trainer(str(tmp_path / "out"), train=dataset).train()


def test_a_checkpoint_without_a_position_and_data_that_changed_are_refused(runs, tmp_path):
    out = str(tmp_path)
    runs.run(out, max_steps=3, save_steps=3)
    checkpoint = tmp_path / "checkpoint-3"
    with pytest.raises(StateMismatchError, match="seed"):
        runs.trainer(out, train=runs.dataset(seed=9)).train(resume_from_checkpoint=str(checkpoint))
    with pytest.raises(InputError, match="ignore_data_skip=True: leave it out"):
        runs.run(out, resume=str(checkpoint), ignore_data_skip=True)
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    del state["stateful_callbacks"]["StreamPosition"]
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(StateError, match="the checkpoint of step 3 has no position in the data"):
        runs.run(out, resume=str(checkpoint))


def test_packs_train_and_other_datasets_go_the_usual_way(runs, tmp_path):
    packs = PackedDataset(runs.rows(), length=32, batch_size=2)
    packed = PackingCollator(0, layout="flat", keys="transformers")
    made = runs.trainer(str(tmp_path), train=packs, collate=packed, num_train_epochs=1)
    made.train()
    assert made.state.global_step == len(packs)
    listed = [{"input_ids": [i + 1, i + 2], "labels": [i + 1, i + 2]} for i in range(8)]
    usual = runs.trainer(
        str(tmp_path), train=listed, max_steps=1, per_device_train_batch_size=8, remove_unused_columns=False
    )
    usual.train()
    assert records(usual.model.seen["train"]) == list(range(1, 9))


def test_without_the_mixin_the_error_names_it(runs, tmp_path):
    made = runs.trainer(str(tmp_path), max_steps=1)
    given = {"train_dataset": runs.dataset(), "data_collator": PaddingCollator(0)}
    plain = transformers.Trainer(made.model, made.args, **given)
    with pytest.raises(CollateError, match=r"holds a RaggedBatch.*StreamMixin"):
        plain.train()
    loader = StreamLoader(runs.dataset(), PaddingCollator(0))
    with pytest.raises(AttributeError, match=r"no drop_last, and skips no batches.*StreamMixin"):
        accelerate.skip_first_batches(loader, 3)
