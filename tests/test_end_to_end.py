"""From a file of records to tensors: every plan and collator beside lines that encode each record directly."""

import json
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from batches import DATASETS
from oracles import pack_rows, pad_rows

from fastcollate import PackingCollator, PaddingCollator, StreamLoader, load_encoding, prepare

WORDS = [
    "one",
    "two",
    "",
    "three,",
    "Wörter",
    "中文",
    "\n\t",
    "🙂",
    "don't",
    "1234567",
    "<|endoftext|>",
    "it's\xa0so",
]
PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
PADDED = [
    {},
    {"supervise": "response", "shift_labels": True},
    {"supervise": "response", "max_length": 90, "truncation": "keep_end", "pad_to_multiple_of": 8},
    {"shift_labels": True, "end_token_id": 50256, "max_length": 64, "padding_side": "left"},
]
PACKED = [
    {},
    {"supervise": "response", "attention_mask": True},
    {"layout": "flat", "supervise": "response"},
    {"layout": "flat", "keys": "transformers"},
]
CASES = [(kind, options) for kind in DATASETS for options in (PACKED if kind in {"packs", "wrap"} else PADDED)]


def made_records(count):
    drawn = random.Random(3)
    return [
        {
            "instruction": " ".join(drawn.choices(WORDS, k=drawn.randint(1, 30))),
            "input": " ".join(drawn.choices(WORDS, k=drawn.randint(0, 9))),
            "output": " ".join(drawn.choices(WORDS, k=drawn.randint(1, 60))),
        }
        for _ in range(count)
    ]


def directly(record, encoding):
    """The tokens of a record, and where its response begins: the first token that holds a byte of it."""
    prompt = f"{PREAMBLE}\n\n### Instruction:\n{record['instruction']}"
    if record["input"]:
        prompt += f"\n\n### Input:\n{record['input']}"
    tokens = encoding.encode_ordinary(f"{prompt}\n\n### Response:\n{record['output']}")
    ends = np.cumsum([len(encoding.decode_single_token_bytes(token)) for token in tokens])
    return [*tokens, encoding.eot_token], int((ends <= len(prompt.encode())).sum())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(a store of the records, what each of them is when it is encoded directly)."""
    records, path = made_records(400), tmp_path_factory.mktemp("records")
    (path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    store = prepare(path / "records.jsonl", path / "store", template="alpaca", records_per_shard=150)
    encoding = load_encoding("gpt2").encoding
    return store, [directly(record, encoding) for record in records]


def expected(ragged, options, direct, packed):
    """The tensors of a batch, from the records that it names."""
    wanted = [(i, begin) for i, begin in zip(ragged.record_ids.tolist(), begins(ragged), strict=True) if i >= 0]
    lengths = ragged.lengths[ragged.record_ids >= 0].tolist()
    rows = [direct[i][0][begin : begin + length] for (i, begin), length in zip(wanted, lengths, strict=True)]
    spans = [[(direct[i][1], len(direct[i][0]))] for i, _ in wanted]
    if not packed:
        width = ragged.width and min(ragged.width, options.get("max_length", ragged.width))  # of static shapes
        return pad_rows(rows, 50256, spans=spans, fillers=len(ragged) - len(rows), width=width, **options)
    edges = ragged.packs.edges.tolist()
    packs = [list(range(first, last)) for first, last in pairwise(edges)]
    cuts = [begin for _, begin in wanted]
    width = None if options.get("layout") == "flat" else ragged.width
    return pack_rows(rows, packs, 50256, spans=spans, cuts=cuts, width=width, **options)


def begins(ragged):
    return [0] * len(ragged) if ragged.cuts is None else ragged.cuts.tolist()


def assert_batch(batch, found):
    tensors, tokens, supervised = found
    assert batch.keys() == tensors.keys()
    for name, value in tensors.items():
        mine = batch[name].numpy() if isinstance(batch[name], torch.Tensor) else np.array(batch[name])
        np.testing.assert_array_equal(mine, np.asarray(value, mine.dtype), err_msg=name, strict=True)
    assert (batch.num_tokens, batch.num_supervised) == (tokens, supervised)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_batches_are_what_encoding_each_record_gives(corpus, kind, options):
    store, direct = corpus
    packed = kind in {"packs", "wrap"}
    collate = (PackingCollator if packed else PaddingCollator)(50256, **options)
    seen = Counter()
    for rank in range(2):
        ranks = {"rank": rank, "world_size": 2}
        ragged, loader = DATASETS[kind](store, **ranks), StreamLoader(DATASETS[kind](store, **ranks), collate)
        for plain, batch in zip(ragged, loader, strict=True):
            *found, tokens, supervised = expected(plain, options, direct, packed)
            if not packed:
                found = [dict(zip(("input_ids", "attention_mask", "labels"), found, strict=True))]
            assert_batch(batch, (*found, tokens, supervised))
            for record, length in zip(plain.record_ids.tolist(), plain.lengths.tolist(), strict=True):
                seen[record] += length
    del seen[-1]
    assert seen == {number: len(tokens) for number, (tokens, _) in enumerate(direct)}
