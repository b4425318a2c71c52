"""Whether documents of a pack see each other, asked of models that keep them apart and of models that do not."""

import pytest
import torch

from fastcollate import CollateError, PackedDataset, PackingCollator, Ragged
from fastcollate.trainers.isolation import check_isolation

ROWS = Ragged.from_rows([[(7 * i + j) % 29 for j in range(1 + i * i % 12)] for i in range(40)])
LAYOUTS = [{"layout": "rows"}, {"layout": "flat"}]


def packed(**given):
    return next(map(PackingCollator(0, **given), PackedDataset(ROWS, length=32, batch_size=2)))


class Averaging(torch.nn.Module):
    """Each token sees the mean of those before it, in its document or in the whole row."""

    def __init__(self, *, apart):
        super().__init__()
        self.apart = apart
        self.table = torch.nn.Parameter(torch.randn(29, 4, generator=torch.Generator().manual_seed(1)))

    def forward(self, input_ids, position_ids, document_ids, **_):
        assert not self.training
        same = document_ids[:, :, None] == document_ids[:, None, :]
        seen = (same if self.apart else torch.ones_like(same)).tril().float()
        return ((seen / seen.sum(-1, keepdim=True)) @ self.table[input_ids],)


@pytest.mark.parametrize("given", LAYOUTS, ids=lambda given: given["layout"])
def test_a_model_that_keeps_documents_apart_is_told_from_one_that_does_not(given):
    batch = packed(**given)
    good = Averaging(apart=True).train()
    assert check_isolation(good, batch) < 1e-6
    assert good.training
    with pytest.raises(CollateError, match=r"document 1 of row 0 has logits that differ by .*: the model lets"):
        check_isolation(Averaging(apart=False), batch)
    assert check_isolation(Averaging(apart=False), batch, tolerance=100) > 0.01


def test_a_batch_that_says_nothing_of_documents_is_refused():
    with pytest.raises(CollateError, match="neither document_ids nor position_ids"):
        check_isolation(lambda **_: torch.zeros(1, 2, 3), {"input_ids": torch.zeros(1, 2, dtype=torch.int64)})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["GPT2", "Llama"])
def test_models_of_transformers_keep_apart_what_is_packed_for_them(kind, attention):
    transformers = pytest.importorskip("transformers", reason="needs the extra trainers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "attn_implementation": attention}
    if kind == "GPT2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **ends))
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **ends, intermediate_size=32))
    for given in LAYOUTS:
        assert check_isolation(model, packed(**given, keys="transformers")) < 1e-5
    masked = packed(attention_mask=True)
    with pytest.raises(CollateError, match=r'see each other.*keys="transformers"'):
        check_isolation(model, masked)
