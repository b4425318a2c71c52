"""Names in plain letters are found whatever stands around them, and nothing else is."""

import re

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from planted import CHAT, ID

from fastcollate import EncodingError, load_encoding
from fastcollate.reports.audits.spellings import Spellings
from fastcollate.reports.token_search import TokenSearch
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
    '"',
    "(",
    "=",
]
texts = st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), min_size=1, max_size=6)


SWALLOWING = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"  # as Llama 3 and Qwen part texts
MERGES = (
    *("<s", "<e", "en", "end", "<en", "<end", "th", "in", "nk", "ink", "<th", "<think", "think", "[I", "[IN"),
    *("[INS", "[INST", "[INST]", "/s", "</", "|>", "<|", "end|", "<<", ">>", "><"),
)


@pytest.fixture(scope="module", params=["bytes", "gpt2", "letters", "swallowing"])
def tokenizer(request):
    if request.param == "swallowing":  # letters take in the sign before them
        ranks = {bytes([byte]): byte for byte in range(256)} | {m.encode(): 256 + i for i, m in enumerate(MERGES)}
        made = tiktoken.Encoding("swallowing", pat_str=SWALLOWING, mergeable_ranks=ranks, special_tokens={})
        return load_encoding(made)
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
    hits = TokenSearch(spellings.sequences, np.zeros(1, bool), tokens).hits(tokens, offsets)
    named, empty = spellings.names_in(hits), spellings.empty_blocks(hits)
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
    hits = TokenSearch(spellings.sequences, np.zeros(1, bool), tokens).hits(tokens, offsets)
    assert spellings.names_in(hits).tolist() == [2, 5]
    assert spellings.empty_blocks(hits).tolist() == [3, 5]


def test_what_stands_before_a_name_may_be_one_token_with_its_beginning(tokenizer):
    texts = [
        f"{before}{name}{after}" for before in (*PARTS, "é", "-") for name in NAMES for after in ("", "x", ")")
    ]
    rows = [tokenizer.encode(text) for text in texts]
    assert found(tokenizer, rows)[0] == list(range(len(texts)))


@pytest.mark.parametrize("size", [12, 13, 40, 2000])
def test_an_empty_block_may_be_long(tokenizer, size):
    blank = ("\n \n\t" * size)[:size]
    texts = [
        f"x<think>{blank}</think>",
        f"<think>{blank}x{blank}</think>",
        f"<think>{blank}</p>",
        f"<think>{blank}",
    ]
    texts += [f"{blank}</think>", f"a <think>{blank}</think>y"]
    assert found(tokenizer, [tokenizer.encode(text) for text in texts])[1] == [0, 5]


LETTERS = "abcdefghijklmnopqrstuvwxyz \n"


def test_what_a_vocabulary_cannot_spell_is_not_there():
    few = Tokenizer.from_callable(
        lambda text: [LETTERS.index(letter) for letter in text],
        vocab_size=len(LETTERS),
        decode=lambda ids: "".join(LETTERS[i] for i in ids),
    )
    assert found(few, [few.encode("s think"), few.encode("endoftext\n")]) == ([], [])


def test_a_token_for_all_that_is_unknown_is_no_name():
    words = {"[UNK]": 0, "a": 1, "b": 2}
    unknown = Tokenizer.from_callable(
        lambda text: [words.get(word, 0) for word in text.split()],
        vocab_size=3,
        decode=lambda ids: " ".join(list(words)[i] for i in ids),
    )
    assert found(unknown, [unknown.encode("a c b"), unknown.encode("a b")]) == ([], [])


def test_a_function_that_takes_whole_characters_alone_is_read_token_by_token():
    whole = Tokenizer.from_callable(
        lambda text: list(text.encode()), vocab_size=256, decode=lambda ids: bytes(ids).decode()
    )
    texts = ["éé<think>\n</think>é", "é</s>é", "éé"]
    spellings = [whole.encode(text) for text in texts]
    assert found(whole, spellings) == ([1], [0])
