"""Who races: the plain loop, padding in the style of Hugging Face's collators, and ours, padded and packed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from fastcollate.corpus.corpus import Corpus
    from fastcollate.loader.stream import StreamLoader

TokenLists = list[list[int]]  # a record each, as Python has them
IGNORED = -100


def plain_epoch(
    rows: TokenLists, *, batch_size: int, pad: int, seed: int, shift: int = 0, device: str = "cpu"
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield an epoch as most training scripts make it: shuffle, take the next rows, pad them in a Python loop."""
    order = shuffled(len(rows), seed)
    for start in range(0, len(order), batch_size):
        inputs, labels = plain_collate([rows[i] for i in order[start : start + batch_size]], pad, shift)
        yield inputs.to(device), labels.to(device)
    synchronise(device)


def plain_collate(rows: TokenLists, pad: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and labels, int64[B, T], padded row by row; labels after a row's end are ignored.

    With `shift` 1 the labels are the next tokens, with 0 the inputs themselves (the model shifts).
    """
    import torch  # noqa: PLC0415

    width = max(map(len, rows))
    inputs, labels = [], []
    for row in rows:
        padded = row + [pad] * (width - len(row))
        label = torch.tensor(padded[shift:])
        label[len(row) - shift :] = IGNORED
        inputs.append(torch.tensor(padded[: width - shift]))
        labels.append(label)
    return torch.stack(inputs), torch.stack(labels)


def features_of(rows: TokenLists) -> list[dict[str, list[int]]]:
    """Return rows as a tokenised data set has them: dicts of Python lists."""
    return [{"input_ids": row, "attention_mask": [1] * len(row), "labels": row} for row in rows]


def hugging_face_epoch(
    features: list[dict[str, list[int]]], *, batch_size: int, pad: int, seed: int, device: str = "cpu"
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield an epoch of a `DataLoader` as Hugging Face's Trainer sets it up: pinned memory, no workers."""
    from torch.utils.data import DataLoader  # noqa: PLC0415

    loader: DataLoader[Any] = DataLoader(
        features,  # type: ignore[arg-type]  # a list is a data set
        batch_size=batch_size,
        sampler=shuffled(len(features), seed),
        collate_fn=lambda rows: hugging_face_collate(rows, pad),
        pin_memory=device.startswith("cuda"),
    )
    for batch in loader:
        yield {name: tensor.to(device) for name, tensor in batch.items()}
    synchronise(device)


def hugging_face_collate(features: list[dict[str, list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Return what `DataCollatorForSeq2Seq` makes, as it does: pad the lists, then make tensors, int64[B, T]."""
    import torch  # noqa: PLC0415

    width = max(len(feature["input_ids"]) for feature in features)
    batch: dict[str, list[list[int]]] = {}
    for name, fill in (("input_ids", pad), ("attention_mask", 0), ("labels", IGNORED)):
        batch[name] = [feature[name] + [fill] * (width - len(feature[name])) for feature in features]
    return {name: torch.tensor(rows) for name, rows in batch.items()}


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers below `count` in one order for all plain loops, so that they pad the same batches."""
    order = list(range(count))
    Random(seed).shuffle(order)  # noqa: S311  # an order, no secret
    return order


def synchronise(device: str) -> None:
    """Wait until what was copied to the device is there: a copy that is still on its way is not done."""
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415

        torch.cuda.synchronize(device)


def padded_loader(
    corpus: Corpus,
    *,
    batch_size: int,
    pad: int,
    seed: int,
    shift: int = 0,
    device: str = "cpu",
    transfer: Literal["padded", "ragged"] = "padded",
    shuffle_block: int | None = None,
) -> StreamLoader:
    """Return a loader of ours over rows of similar length, padded."""
    from fastcollate import BucketedDataset, PaddingCollator, StreamLoader  # noqa: PLC0415

    world: dict[str, Any] = {"rank": 0, "world_size": 1}
    dataset = BucketedDataset(corpus, batch_size=batch_size, seed=seed, shuffle_block=shuffle_block, **world)
    collate = PaddingCollator(pad, shift_labels=bool(shift), as_tuple=bool(shift))
    return StreamLoader(dataset, collate, device=device, transfer=transfer)


def packed_loader(
    corpus: Corpus,
    *,
    length: int,
    batch_size: int,
    pad: int,
    seed: int,
    device: str = "cpu",
    transfer: Literal["padded", "ragged"] = "padded",
    shuffle_block: int | None = None,
) -> StreamLoader:
    """Return a loader of ours over rows of `length` tokens filled with documents; longer ones are split."""
    from fastcollate import PackedDataset, PackingCollator, StreamLoader  # noqa: PLC0415

    dataset = PackedDataset(
        corpus,
        length=length,
        batch_size=batch_size,
        overlong="split",
        shuffle_block=shuffle_block,
        seed=seed,
        rank=0,
        world_size=1,
    )
    return StreamLoader(dataset, PackingCollator(pad), device=device, transfer=transfer)


def our_epoch(loader: StreamLoader) -> Iterator[Any]:
    """Yield the next epoch of a loader of ours."""
    yield from loader
    synchronise(str(loader.device))
