"""No document of a pack sees another: a transformer gives each the losses it has alone, to 1e-9."""

import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from stores import lognormal_lengths
from torch import nn

from fastcollate import PackedDataset, PackingCollator, Ragged, RaggedBatch, StoreWriter, TokenStore
from fastcollate.ragged import Packs

LENGTH, VOCABULARY, PAD = 48, 64, 63
EXACT = {"rtol": 0, "atol": 1e-9}
plain_causal = partial(nn.functional.scaled_dot_product_attention, is_causal=True)


class Block(nn.Module):
    """Attention and an MLP, each behind a norm; `attend(q, k, v)` decides who sees whom."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, attend):
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """Two layers; labels are aligned with inputs, and the loss of each token is given at its own place."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(4 * LENGTH, width)
        self.blocks = nn.ModuleList([Block(width, heads), Block(width, heads)])
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, input_ids, position_ids, labels, attend):
        x = self.tokens(input_ids) + self.positions(position_ids)
        for block in self.blocks:
            x = block(x, attend)
        losses = nn.functional.cross_entropy(self.head(x[:, :-1]).transpose(1, 2), labels[:, 1:], reduction="none")
        return nn.functional.pad(losses, (1, 0))


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer().double().requires_grad_(False)


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    """60 records of 1 to 48 random tokens, supervised from their third on."""
    generator = np.random.default_rng(3)
    lengths = lognormal_lengths(60, mean=2.4, high=LENGTH)
    rows = [generator.integers(0, PAD, n) for n in lengths]
    path = tmp_path_factory.mktemp("data") / "store"
    with StoreWriter(path, encoding="bytes") as writer:
        writer.append(Ragged.from_rows(rows, np.uint16), Ragged.from_rows([[min(2, n), n] for n in lengths]))
    return TokenStore(path)


@pytest.fixture(params=["best_fit", "wrap"])
def packed(request, small_store):
    """The batches of an epoch, before the collator."""
    batches = list(PackedDataset(small_store, length=LENGTH, batch_size=4, strategy=request.param))
    assert max(np.diff(batch.packs.edges).max() for batch in batches) >= 4
    assert sum(int(batch.lengths.sum()) for batch in batches) == small_store.num_tokens
    return batches


def alone(model, batch):
    """The loss of each token of each document, run by itself with positions from 0; a first token has none."""
    found = []
    for document in batch:
        tokens = torch.from_numpy(document.astype(np.int64))[None]
        found.append(model(tokens, torch.arange(tokens.shape[1])[None], tokens, plain_causal)[0])
    return torch.cat(found)


def losses(model, batch, attend):
    """The losses of a packed batch; one packed row after another, padding left out."""
    found = model(batch["input_ids"], batch["position_ids"], batch["labels"], attend)
    assert found[batch["document_ids"] < 0].eq(0).all()
    assert found[batch["position_ids"] == 0].eq(0).all()
    assert int(found.ne(0).sum()) == batch.num_supervised
    return found[batch["document_ids"] >= 0]


def masked(batch):
    """Attention under a block-diagonal causal mask of `document_ids`, bool[B, 1, T, T]."""
    documents = batch["document_ids"]
    mask = (documents[:, None, :, None] == documents[:, None, None, :]).tril()
    return partial(nn.functional.scaled_dot_product_attention, attn_mask=mask)


def flexible(batch):
    """The same by `flex_attention`."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    documents = batch["document_ids"]

    def within(b, h, q, kv):
        return (q >= kv) & (documents[b, q] == documents[b, kv])

    rows, columns = documents.shape
    block_mask = create_block_mask(within, rows, None, columns, columns, device=documents.device)
    return partial(flex_attention, block_mask=block_mask)


def by_lengths(batch):
    """The same from `cu_seqlens` of a flat batch, as a variable-length kernel would."""
    total = batch["input_ids"].shape[1]
    mask = torch.zeros(total, total, dtype=torch.bool)
    for start, stop in pairwise(batch["cu_seqlens"].tolist()):
        assert stop - start <= batch["max_seqlen"]
        mask[start:stop, start:stop] = True
    return partial(nn.functional.scaled_dot_product_attention, attn_mask=mask.tril())


@pytest.fixture
def flex():
    """Skip where this torch has no `flex_attention` in float64 on the CPU."""
    try:
        from torch.nn.attention.flex_attention import flex_attention

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flex_attention(*torch.zeros(3, 1, 2, LENGTH, 8, dtype=torch.float64))
    except Exception as error:  # noqa: BLE001  # what it lacks differs from version to version
        pytest.skip(f"flex_attention does not run here: {type(error).__name__}: {error:.100}")


def test_rows_under_a_document_mask(model, packed):
    padding = 0
    for batch in packed:
        collated = PackingCollator(PAD)(batch)
        torch.testing.assert_close(losses(model, collated, masked(collated)), alone(model, batch), **EXACT)
        padding += collated["input_ids"].numel() - collated.num_tokens
    assert padding > 0


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.usefixtures("flex")
def test_rows_under_flex_attention(model, packed):
    for batch in packed:
        collated = PackingCollator(PAD)(batch)
        torch.testing.assert_close(losses(model, collated, flexible(collated)), alone(model, batch), **EXACT)


def test_flat_batches_under_a_mask_of_their_lengths(model, packed):
    for batch in packed:
        collated = PackingCollator(PAD, layout="flat")(batch)
        assert collated.padding_fraction == 0
        expected = alone(model, batch)
        torch.testing.assert_close(losses(model, collated, by_lengths(collated)), expected, **EXACT)
        torch.testing.assert_close(losses(model, collated, masked(collated)), expected, **EXACT)


def test_responses_have_the_losses_they_have_alone(model, packed):
    for batch in packed:
        collated = PackingCollator(PAD, supervise="response")(batch)
        expected = alone(model, batch)
        documents = zip(batch.lengths.tolist(), batch.cuts.tolist(), strict=True)
        prompt = torch.cat([torch.arange(length) + cut < 2 for length, cut in documents])
        found = losses(model, collated, masked(collated))
        torch.testing.assert_close(found, expected.masked_fill(prompt, 0), **EXACT)


def test_without_the_document_mask_documents_see_each_other(model, packed):
    batch = next(batch for batch in packed if len(batch) > 4)
    collated = PackingCollator(PAD)(batch)
    expected = alone(model, batch)
    difference = (losses(model, collated, plain_causal) - expected).abs()
    assert difference.max() > 1e-3
    first = torch.from_numpy(np.repeat(np.isin(np.arange(len(batch)), batch.packs.edges), batch.lengths))
    assert difference[first].max() < 1e-9  # nothing lies before a pack's first document


def test_without_positions_from_zero_documents_are_not_themselves(model, packed):
    batch = next(batch for batch in packed if len(batch) > 4)
    collated = PackingCollator(PAD)(batch)
    expected = losses(model, collated, masked(collated))
    positions = torch.arange(LENGTH).expand_as(collated["input_ids"])
    found = model(collated["input_ids"], positions, collated["labels"], masked(collated))
    assert (found[collated["document_ids"] >= 0] - expected).abs().max() > 1e-3


def test_a_filler_has_no_loss_and_no_nan(model):
    nothing = RaggedBatch.from_ragged(Ragged.from_rows([], np.uint16))
    batch = nothing.laid_out(width=LENGTH, packs=Packs.of(nothing.lengths, np.array([0, 0]), LENGTH))
    rows, flat = PackingCollator(PAD)(batch), PackingCollator(PAD, layout="flat")(batch)
    assert len(losses(model, rows, masked(rows))) == 0
    assert len(losses(model, flat, by_lengths(flat))) == 0
