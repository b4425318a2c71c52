"""Names in plain letters are found whatever stands around them, and nothing else is."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import CHAT, ID

from fastcollate import EncodingError, load_encoding
from fastcollate.reports.audits.spellings import Spellings
from fastcollate.tokenizers.tokenizer import Tokenizer

NAMES = ["<|endoftext|>", "<|end|>", "</s>", "<s>", "[INST]"]
PARTS = [
    *NAMES,
    "<think>",
    "</think>",
    "think",
    "<",
    ">",
    "|",
    "<|",
    "|>",
    " ",
    "\n",
    "end",
    "of",
    "text",
    "s",
    "é",
    "a.",
]
texts = st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), min_size=1, max_size=6)


@pytest.fixture(scope="module", params=["bytes", "gpt2", "letters"])
def tokenizer(request):
    if request.param == "letters":  # says nothing of its bytes
        return Tokenizer.from_callable(letters, vocab_size=0x11_0000, decode=lambda ids: "".join(map(chr, ids)))
    try:
        return load_encoding(request.param)
    except EncodingError:
        pytest.skip("the gpt2 vocabulary is not here")


def letters(text):
    return [ord(letter) for letter in text]


def found(tokenizer, rows):
    """The rows that spell a name, and those with an empty block."""
    spellings = Spellings(tokenizer, NAMES, np.zeros(tokenizer.vocab_size, bool))
    tokens, offsets = np.concatenate([np.zeros(0, np.int64), *rows]), np.cumsum([0, *map(len, rows)])
    hits = np.flatnonzero(np.isin(tokens, spellings.firsts))
    named, empty = spellings.names_in(tokens, offsets, hits), spellings.empty_blocks(tokens, offsets, hits)
    assert named.dtype == empty.dtype == np.int64
    return named.tolist(), empty.tolist()


@given(texts)
def test_names_and_empty_blocks_are_those_of_the_text(tokenizer, texts):
    texts = [text or "-" for text in texts]
    rows = [tokenizer.encode(text) for text in texts]
    named = [i for i, text in enumerate(texts) if any(name in text for name in NAMES)]
    empty = [i for i, text in enumerate(texts) if re.search(r"<think>\s*</think>", text)]
    assert found(tokenizer, rows) == (named, empty)


def test_control_tokens_are_no_letters_and_part_them():
    tokenizer = load_encoding(CHAT)
    spellings = Spellings(tokenizer, sorted(ID), np.arange(tokenizer.vocab_size) >= 256)
    rows = [
        [*b"a", ID["<|im_end|>"], *b"b"],
        [*b"<|im", ID["<|im_end|>"], *b"_end|>"],
        [*b"<|im_end|>"],
        [ID["<think>"], 10, 10, ID["</think>"]],
        [ID["<think>"], *b"x", ID["</think>"]],
        [ID["<think>"], *b" </think>"],
    ]
    tokens, offsets = np.concatenate(rows), np.cumsum([0, *map(len, rows)])
    hits = np.flatnonzero(np.isin(tokens, spellings.firsts))
    assert spellings.names_in(tokens, offsets, hits).tolist() == [2, 5]
    assert spellings.empty_blocks(tokens, offsets, hits).tolist() == [3, 5]
