"""A model so small that each door trains it for fifty steps, and the loop that they are compared with."""

import torch

from fastcollate import BucketedDataset, PaddingCollator, Ragged, StreamLoader

STEPS = 50


def corpus():
    """400 records of 1 to 12 tokens: at 4 rows a batch, 50 steps an epoch on 2 ranks."""
    return Ragged.from_rows([[(7 * i + j) % 29 for j in range(1 + i * i % 12)] for i in range(400)])


def dataset(**ranks):
    return BucketedDataset(corpus(), batch_size=4, seed=5, **ranks)


def evaluation(**ranks):
    return BucketedDataset(corpus(), batch_size=20, seed=6, **ranks)


COLLATE = PaddingCollator(0, shift_labels=True)


class Tiny(torch.nn.Module):
    """An embedding and a linear layer, float64."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        draw = [torch.randn(size, generator=generator, dtype=torch.float64) for size in ((29, 4), (4, 29))]
        self.embedding, self.head = map(torch.nn.Parameter, draw)

    def forward(self, input_ids, labels):
        """The mean loss; 0 where a batch has no target."""
        logits = self.embedding[input_ids] @ self.head
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return losses / (labels != -100).sum().clamp(min=1)


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.5)


def ids_of(batch):
    return [record for record in batch.record_ids.tolist() if record >= 0]


def by_hand(world_size, *, steps=STEPS):
    """The losses of each rank at each step, gradients averaged over ranks, and each rank's records."""
    model = Tiny()
    optimizer = optimizer_of(model)
    loaders = [StreamLoader(dataset(rank=rank, world_size=world_size), COLLATE) for rank in range(world_size)]
    losses, records = [[] for _ in loaders], [[] for _ in loaders]
    passes = [iter(loader) for loader in loaders]
    for _ in range(steps):
        optimizer.zero_grad()
        for rank, batches in enumerate(passes):
            batch = next(batches, None)
            if batch is None:
                passes[rank] = iter(loaders[rank])
                batch = next(passes[rank])
            loss = model(batch["input_ids"], batch["labels"])
            (loss / world_size).backward()
            losses[rank].append(loss.item())
            records[rank].append(ids_of(batch))
        optimizer.step()
    return losses, records
