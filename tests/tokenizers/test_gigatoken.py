"""The fast engine gives the ids that tiktoken gives, or tiktoken gives them."""

import os
import unicodedata
from itertools import product

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError
from fastcollate.tokenizers.byte_pairs import gigatoken
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer
from fastcollate.tokenizers.byte_pairs.gigatoken import Gigatoken, doubtful, gigatoken_loader
from fastcollate.tokenizers.byte_pairs.ordinary import Reference
from fastcollate.tokenizers.byte_pairs.patterns import PATTERNS, known_pattern
from fastcollate.tokenizers.load import load_encoding

pytest.importorskip("gigatoken")

ASCII, OTHERS = range(128), range(128, 256)
# Two bytes beside each other are a token unless the pattern parts them there: ids show where each piece ends.
PAIRS = {bytes([byte]): byte for byte in range(256)} | {
    bytes(pair): 256 + i
    for i, pair in enumerate([*product(ASCII, OTHERS), *product(OTHERS, ASCII), *product(ASCII, ASCII)])
}
NAMES = ["gpt2", "cl100k_base", "o200k_base"]


def reference(name, ranks=PAIRS):
    encoding = tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
    return Reference(encoding, known_pattern(PATTERNS[name]))


def engine(name, ranks=PAIRS):
    """One that uses gigatoken from the first byte on."""
    made = Gigatoken(reference(name, ranks), gigatoken_loader(ranks, known_pattern(PATTERNS[name]).scheme))
    made._bytes = gigatoken._FIRST_BYTES + 1
    return made


ENGINES = {name: engine(name) for name in NAMES}
REFERENCES = {name: reference(name) for name in NAMES}


def published_ranks():
    try:
        return load_encoding("gpt2")._ranks
    except EncodingError as error:
        pytest.skip(str(error))


LETTERS = "aZ1 \n\r\t'/!éßʕ漢é\u0301\u00a0\u2028\u0085\x1c\x00\u017f\u212a"
STRINGS = ["'s", "'LL", "'\u017f", "  ", "\r\n", "😀", "\U0001f468\u200d"]
HOSTILE = st.sampled_from([*LETTERS, *STRINGS])
TEXTS = st.lists(HOSTILE | st.text(st.characters(), max_size=4), max_size=12).map("".join)


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(TEXTS, max_size=4))
def test_any_text_has_the_ids_of_tiktoken(name, texts):
    fast = ENGINES[name].encode_batch(texts)
    assert fast == REFERENCES[name].encode_batch(texts)
    assert (fast.values.dtype, fast.offsets.dtype) == (np.uint32, np.int64)
    assert ENGINES[name]._usable


@given(st.lists(TEXTS, max_size=4))
def test_any_text_has_the_ids_of_gpt2(texts):
    ranks = published_ranks()
    if "gpt2 itself" not in ENGINES:
        ENGINES["gpt2 itself"], REFERENCES["gpt2 itself"] = engine("gpt2", ranks), reference("gpt2", ranks)
    assert ENGINES["gpt2 itself"].encode_batch(texts) == REFERENCES["gpt2 itself"].encode_batch(texts)


ODD = ["ab c", "", "\U000332ee's", "it's 12\n", "a\0end", "\0e", "\0end", "d\0en"]


@pytest.mark.parametrize("texts", [[], [""], ODD * 3])
def test_texts_get_their_end_in_the_stead_of_the_mark_between_them(texts):
    fast, slow = ENGINES["gpt2"], REFERENCES["gpt2"]
    end = len(PAIRS)
    assert fast.encode_batch(texts) == slow.encode_batch(texts)
    ended = fast.encode_batch(texts, end)
    assert ended == slow.encode_batch(texts, end)
    assert [row.tolist() for row in ended] == [[*slow.encode(text), end] for text in texts]
    assert (ended.values.dtype, ended.offsets.dtype) == (np.uint32, np.int64)
    assert fast._usable


@pytest.mark.parametrize("code", [0x295, 0x88F, 0x1ACF, 0x10940, 0x16EC8, 0x2CEA2, 0x332EE, 0xD800])
def test_a_character_that_the_two_take_for_different_ones_goes_to_tiktoken(code):
    assert doubtful(["漢", chr(code)]) == [1]
    texts = ["a", f"{chr(code)}'s", "b"]
    for name in NAMES:
        assert ENGINES[name].encode_batch(texts) == REFERENCES[name].encode_batch(texts)


def test_what_people_write_is_not_doubtful():
    text = "naïve ŠĐ Ελλά Жук עברית العربية हिन्दी ไทย 한국어 漢字 𠀀 😀🫠🏴\U000e0067\ufe0f\u200d \U0001d49c ∀ —"
    assert doubtful([text]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_other_character_is_taken_for_different_ones(name):
    """Every seventh code point, all with `FASTCOLLATE_SWEEP=1`: between characters of every class known."""
    around = ["a", "A", "1", " ", "\n", "!", "'s", "'S", "/", "\u0301", "\u00a0", "\r"]
    contexts = [
        *product(around, around),
        ("'", ""),
        ("'l", ""),
        ("'", "l"),
        ("'r", "e"),
        (" '", " "),
        ("  ", "  "),
    ]
    new = gigatoken_loader(PAIRS, known_pattern(PATTERNS[name]).scheme)
    step = 1 if os.environ.get("FASTCOLLATE_SWEEP") else 7
    codes = [*range(0, 0x40000, step), *range(0x40000, 0x110000, 97), *range(0xE0000, 0xE1000, step)]
    characters = [chr(code) for code in codes]
    doubted = set(doubtful(characters))
    letters = [letter for i, letter in enumerate(characters) if i not in doubted]
    different = []
    for i in range(0, len(letters), 4096):
        if i % 16384 == 0:
            tokenizer = new()
        for letter in letters[i : i + 4096]:
            text = "".join(before + letter + after for before, after in contexts)
            if tokenizer.encode(text).tolist() != REFERENCES[name].encode(text):
                different.append(f"U+{ord(letter):04X} {unicodedata.category(letter)}")
    assert different == []


def test_a_difference_is_noticed_and_ends_the_use_of_gigatoken():
    other = engine("gpt2")
    other._load = gigatoken_loader(PAIRS, known_pattern(PATTERNS["cl100k_base"]).scheme)
    texts = ["12345 12345"] * 10
    with pytest.warns(UserWarning, match="gigatoken encodes '12345 12345' otherwise than tiktoken"):
        assert other.encode_batch(texts) == REFERENCES["gpt2"].encode_batch(texts)
    assert other.encode_batch(texts) == REFERENCES["gpt2"].encode_batch(texts)
    assert not other._usable


def test_ranks_that_gigatoken_does_not_take_are_left_to_tiktoken():
    ranks = {bytes([byte]): byte for byte in range(256)}
    broken = engine("gpt2", ranks)

    def refuse():
        raise ValueError("no such ranks")

    broken._load = refuse
    with pytest.warns(UserWarning, match=r"gigatoken fails \(no such ranks\)"):
        assert broken.encode_batch(["ab"]).values.tolist() == [97, 98]


def test_few_bytes_do_not_load_gigatoken():
    tokenizer = BpeTokenizer(
        tiktoken.Encoding("pairs", pat_str=PATTERNS["gpt2"], mergeable_ranks=PAIRS, special_tokens={})
    )
    tokenizer.encode_batch(["a few"])
    assert tokenizer._engine._tokenizer is None
    tokenizer.encode_batch(["many " * gigatoken._FIRST_BYTES])
    assert tokenizer._engine._tokenizer is not None


def test_its_memory_is_bounded(monkeypatch):
    loads = []
    bounded = engine("gpt2")
    load = bounded._load
    bounded._load = lambda: loads.append(1) or load()
    monkeypatch.setattr(gigatoken, "_resident", lambda: 0)  # a machine that does not say
    monkeypatch.setattr(gigatoken, "_MOST_BYTES", 1000)
    monkeypatch.setattr(gigatoken, "_MOST_GROWTH", 1000)
    for _ in range(5):
        bounded.encode_batch(["word " * 120])
    assert len(loads) == 3
    if gigatoken._resident() == 0:
        monkeypatch.undo()
    assert gigatoken._resident() >= 0


@pytest.mark.slow
def test_random_words_take_no_more_than_150_megabytes():
    bounded, generator = engine("gpt2", published_ranks()), np.random.default_rng(0)
    bounded.encode_batch(["a"])
    if not (before := gigatoken._resident()):
        pytest.skip("this system does not say what memory a process has")
    most = 0
    for _ in range(60):
        words = generator.integers(97, 123, (60_000, 8), np.uint8)
        words[:, 0] = 32
        text = words.tobytes().decode()
        bounded.encode_batch([text[i : i + 480] for i in range(0, len(text), 480)])
        most = max(most, gigatoken._resident() - before)
    assert most < 150_000_000
