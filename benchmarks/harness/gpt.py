"""A decoder of GPT-2's shape in plain torch, the losses of a step, and the clock by which steps are timed."""

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

IGNORED = -100
CELLS = 8192  # whose logits exist at once: those of 32 rows of 8192 tokens would take 50 GB

causal = partial(nn.functional.scaled_dot_product_attention, is_causal=True)
torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every width: loaders whose widths vary would pay


@dataclass(frozen=True)
class Shape:
    """How large a model is; `positions` is the longest row it takes, `std` how far its weights start from 0."""

    positions: int
    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 50_304  # GPT-2's 50,257, filled up to a multiple of 128
    std: float = 0.02


class Step(NamedTuple):
    """What a step trains on: int64[B, T] each, on the device; `positions` and `documents` of packs alone."""

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None = None
    documents: torch.Tensor | None = None


class Block(nn.Module):
    """Attention and an MLP, each behind a norm; `attend(q, k, v)` decides who sees whom."""

    def __init__(self, shape):
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, attend):
        q, k, v = self.qkv(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x))


class GPT(nn.Module):
    """The loss of each next token; no dropout, so that the same rows have the same losses."""

    def __init__(self, shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)  # the head as well
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.norm = nn.LayerNorm(shape.width)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=shape.std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, inputs, targets, positions=None, attend=causal):
        """float[B, T]: 0 where `targets` is ignored; positions count from each row's begin unless given.

        Padding on the right needs no mask: no real token looks to its right.
        """
        if positions is None:
            positions = torch.arange(inputs.shape[1], device=inputs.device)
        x = self.tokens(inputs) + self.positions(positions)
        for block in self.blocks:
            x = block(x, attend)
        pieces = zip(self.norm(x).flatten(0, 1).split(CELLS), targets.flatten().split(CELLS), strict=True)
        # The backward pass makes each piece's logits again.
        losses = [
            checkpoint(self._losses, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces
        ]
        return torch.cat(losses).view(targets.shape)

    def _losses(self, hidden, targets):
        logits = nn.functional.linear(hidden, self.tokens.weight)
        return nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")


def inside_documents(documents, kind):
    """Causal attention that stays inside `documents: int64[B, T]`; padding, -1, sees padding alone.

    `"mask"` gives torch's own kernels a mask of all pairs; `"flex"` skips the blocks in which no pair may look.
    """
    if kind == "mask":
        mask = (documents[:, None, :, None] == documents[:, None, None, :]).tril()
        return partial(nn.functional.scaled_dot_product_attention, attn_mask=mask)

    def same_document(b, h, i, j):  # noqa: ARG001  # flex_attention's signature
        return (i >= j) & (documents[b, i] == documents[b, j])

    rows, width = documents.shape
    mask = create_block_mask(same_document, rows, None, width, width, device=documents.device)
    return partial(compiled_flex() if documents.is_cuda else flex_attention, block_mask=mask)


@cache
def compiled_flex():
    """Fused only if compiled; `fullgraph` makes one compilation too many an error, not a slow kernel."""
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def losses_of(model, step, attention):
    """float[B, T], 0 where there is no target."""
    attend = causal if step.documents is None else inside_documents(step.documents, attention)
    return model(step.inputs, step.targets, step.positions, attend)


def records_in(step, losses):
    """The tokens of each record in `step`, and its losses: one for each token but the first."""
    documents = torch.zeros_like(step.inputs) if step.documents is None else step.documents
    for row, owners in enumerate(documents):
        for number in range(int(owners.max()) + 1):
            inside = owners == number
            learned = inside & (step.targets[row] != IGNORED)
            first = int(step.inputs[row][inside][0])
            yield (first, *step.targets[row][learned].tolist()), losses[row][learned]


@torch.no_grad()
def losses_by_record(model, steps, attention):
    """The records of `steps` in order of their tokens, and float[targets], their losses one after the other."""
    found = []
    for step in steps:
        found += records_in(step, losses_of(model, step, attention))
    found.sort(key=lambda record: record[0])
    return [tokens for tokens, _ in found], torch.cat([losses for _, losses in found])


def train_step(model, optimizer, step, attention):
    """One step of AdamW: float64[2], the sum of the losses and the number of targets, still on the device."""
    on_gpu = step.inputs.is_cuda
    with torch.autocast(step.inputs.device.type, dtype=torch.bfloat16, enabled=on_gpu):
        total = losses_of(model, step, attention).sum()
    targets = (step.targets != IGNORED).sum()
    (total / targets).backward()
    optimizer.step()
    optimizer.zero_grad()
    return torch.stack([total.detach().double(), targets.double()])


class Clock:
    """Marks in time: of the host on the CPU, of the device's own queue of work on CUDA.

    A host's clock around `next()` would be wrong there: the host runs ahead of the device, and whichever call
    first waits for it (a blocking copy, say) would be charged for the training steps before it. An event is
    passed when the device gets there: between the end of one step and the arrival of the next batch it copies
    that batch or has nothing to do. Nothing is synchronised until the last mark, so loaders keep their overlap.
    """

    def __init__(self, device):
        self.device = device
        self.marks = []

    def mark(self):
        if self.device.type != "cuda":
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def seconds(self):
        """float64[marks - 1], between one mark and the next."""
        if self.device.type != "cuda":
            return np.diff(self.marks)
        torch.cuda.synchronize(self.device)
        return np.array([a.elapsed_time(b) / 1e3 for a, b in zip(self.marks[:-1], self.marks[1:], strict=True)])
