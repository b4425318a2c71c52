"""Long texts take linear time, and white space without end overflows nothing."""

import pickle
import time

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer
from fastcollate.tokenizers.byte_pairs.ordinary import Reference
from fastcollate.tokenizers.byte_pairs.patterns import PATTERNS, known_pattern
from fastcollate.tokenizers.documents import encode_documents

BYTES = {bytes([byte]): byte for byte in range(256)}
# Any white space beside any other, and beside letters, is one token where the pattern lets them meet.
BLANKS = [*b" \t\n\r\x0b\x0c\x1c", *b"a1'!/"]
RANKS = BYTES | {bytes([a, b]): 256 + 12 * i + j for i, a in enumerate(BLANKS) for j, b in enumerate(BLANKS)}
NAMES = ["gpt2", "cl100k_base", "o200k_base"]


def encoding(name, pattern=None):
    return tiktoken.Encoding(
        name, pat_str=pattern or PATTERNS[name], mergeable_ranks=RANKS, special_tokens={"<|endoftext|>": 1000}
    )


WHITE = st.text(st.sampled_from([*" \t\n\r\x0b\x0c\x1c\x85\xa0\u2028\u3000\u200b"]), max_size=9)
WORDS = st.sampled_from(["", "a", "1", "!", "'s", "/", "é", "!\n", "!/"])
TEXTS = st.lists(st.tuples(WORDS, WHITE), max_size=6).map(lambda parts: "".join(map("".join, parts)))


@pytest.mark.parametrize("name", NAMES)
@given(TEXTS)
def test_a_text_taken_apart_has_the_ids_of_the_whole(name, text):
    whole = encoding(name)
    apart = Reference(whole, known_pattern(PATTERNS[name]), stretch=2)
    assert apart.encode(text) == whole.encode_ordinary(text)


@pytest.mark.parametrize("name", NAMES)
@given(
    st.sampled_from(["", "You are a\thelpful. assistant", "a 's. b", "It's; é. A: ", "a\nb\n"]),
    st.lists(TEXTS, max_size=4),
)
def test_texts_that_begin_alike_have_the_ids_of_each(name, beginning, ends):
    texts = [beginning + end for end in ends]
    rows = Reference(encoding(name), known_pattern(PATTERNS[name])).encode_batch(texts)
    assert [row.tolist() for row in rows] == [encoding(name).encode_ordinary(text) for text in texts]


@pytest.mark.parametrize("special", [{}, {"<|endoftext|>": 1000}])
@pytest.mark.parametrize("beginning", ["", "A text that begins. "])
def test_rows_have_the_ids_of_each_text_and_the_end_after_them(special, beginning):
    whole = tiktoken.Encoding("gpt2", pat_str=PATTERNS["gpt2"], mergeable_ranks=RANKS, special_tokens=special)
    reference = Reference(whole, known_pattern(PATTERNS["gpt2"]), stretch=20)
    for ends in (["", "a <|endoftext|>", "é\ud83d", "\ud83d\ude00", " " * 50 + "a", ""], ["a"], []):
        texts = [beginning + end for end in ends]
        ids = [whole.encode_ordinary(text) for text in texts]
        for end, after in ((None, []), (1000, [1000])):
            found = reference.encode_batch(texts, end)
            assert [row.tolist() for row in found] == [row + after for row in ids]
            assert (found.values.dtype, found.offsets.dtype) == (np.uint32, np.int64)
            assert len(found.values) == found.offsets[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        " " * 1_200_000 + "a",
        "a" + " " * 1_200_000,
        "a" + "\n" * 1_200_000 + "a",
        " " * 1_200_000 + "\n",
        (" " * 60_000 + "a") * 20,
    ],
    ids=["before", "after", "lines", "line", "shorter"],
)
def test_white_space_without_end_is_encoded(name, text):
    tokenizer = BpeTokenizer(encoding(name))
    start = time.perf_counter()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_batch([text]).values.tolist() == tokenizer.encode(text).tolist()
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", ["a", "A", "1", "!", " \n", "'s", "漢"])
def test_a_long_run_takes_linear_time(name, unit):
    tokenizer = BpeTokenizer(encoding(name))
    start = time.perf_counter()
    assert len(tokenizer.encode(unit * 500_000))
    assert time.perf_counter() - start < 10  # what is quadratic takes hours


def test_a_panic_is_an_error_that_names_the_document(capfd):
    tokenizer = BpeTokenizer(encoding("strange", r"\s+(?!\S)|(?s:.)"))
    blanks = " " * 1_200_000 + "a"
    with pytest.raises(EncodingError) as caught:
        tokenizer.encode_batch(["a", blanks])
    assert str(caught.value).startswith(
        'a text of 1,200,001 characters is too much for the pattern of encoding "strange" ('
    )
    assert str(caught.value).endswith("): leave it out, or cut its long runs of white space")
    assert caught.value.document == 1
    documents = [Document([Segment("a"), Segment("<|endoftext|>", 1, control=True), Segment("b")])]
    documents.append(Document([Segment("<|endoftext|>", 1, control=True), Segment("a"), Segment(blanks)]))
    with pytest.raises(EncodingError, match=r"^a text of 1,200,002 characters") as caught:
        encode_documents(tokenizer, documents)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.document) == (str(caught.value), 1)
    capfd.readouterr()  # what Rust prints


def test_patterns_are_tiktokens_own(monkeypatch):
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    monkeypatch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", lambda *_, **__: {})
    for name, pattern in PATTERNS.items():
        if hasattr(openai_public, name):  # an older tiktoken has fewer
            assert getattr(openai_public, name)()["pat_str"] == pattern
