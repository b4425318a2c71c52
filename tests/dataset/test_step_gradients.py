"""Four real ranks of three micro-batches have the gradient of one large batch, in float64 and with weights."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from stores import lognormal_lengths, write_store
from torch.nn.functional import cross_entropy

from fastcollate import BucketedDataset, PackedDataset, PackingCollator, PaddingCollator, TokenStore

RANKS, MICRO = 4, 3
KINDS = {
    "padded, cut": (
        lambda store, **world: BucketedDataset(store, batch_size=3, window=60, **world),
        PaddingCollator(256, max_length=60, shift_labels=True, supervise="response"),
    ),
    "packed": (
        lambda store, **world: PackedDataset(store, length=256, window=200, **world),
        PackingCollator(256, supervise="response"),
    ),
}


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """1,003 records whose spans weigh 0.5 or 1, or 0.3, which no float holds exactly."""
    path = tmp_path_factory.mktemp("weighted") / "store"
    return write_store(path, lognormal_lengths(1003), records_per_shard=300, spans=True, weights=[0.5, 1, 0.3])


def loss_of(weights, batch, *, shifted):
    """The loss of a bigram model, summed as labels count: each row of `weights` holds what follows a token."""
    logits, labels = weights[batch["input_ids"]], batch["labels"]
    count = batch["loss_weights"]
    if not shifted:
        logits, labels, count = logits[:, :-1], labels[:, 1:], count[:, 1:]
    return (cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none") * count.flatten()).sum()


def start():
    return torch.randn(
        257, 257, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )


def gradients(path, kind, rank, world_size):
    """The gradient of each step, averaged over ranks as data-parallel training does."""
    make, collator = KINDS[kind]
    found, weights = [], start()
    for batch in map(collator, make(TokenStore(path), rank=rank, world_size=world_size, accumulate=MICRO)):
        loss = loss_of(weights, batch, shifted=kind.startswith("padded"))
        (loss / (batch.step_loss_weight or 1) * world_size).backward()
        if batch.micro == MICRO - 1:
            dist.all_reduce(weights.grad)
            found.append(weights.grad / world_size)
            weights.grad = None
    return found


def train(rank, path, kind, rendezvous, results):
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    found = gradients(path, kind, rank, RANKS)
    if rank == 0:
        torch.save(found, results)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_step_is_that_of_one_large_batch(weighted, tmp_path, kind):
    path, results = str(weighted.path), str(tmp_path / "gradients")
    mp.start_processes(
        train, (path, kind, str(tmp_path / "rendezvous"), results), nprocs=RANKS, start_method="spawn"
    )
    found = torch.load(results)
    make, collator = KINDS[kind]
    ranks = [list(map(collator, make(weighted, rank=r, world_size=RANKS, accumulate=MICRO))) for r in range(RANKS)]
    assert len(found) == len(ranks[0]) // MICRO > 1
    for number, gradient in enumerate(found):
        weights = start()
        step = [batch for rank in ranks for batch in rank[number * MICRO : (number + 1) * MICRO]]
        losses = [loss_of(weights, batch, shifted=kind.startswith("padded")) for batch in step]
        (sum(losses) / (sum(batch.loss_weight for batch in step) or 1)).backward()
        assert float((gradient - weights.grad).abs().max()) < 1e-12
