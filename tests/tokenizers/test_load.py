"""Tokenizers from files of ranks and from functions."""

import base64
import pickle

import numpy as np
import pytest
import tiktoken

from fastcollate.errors import EncodingError
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers.byte_pairs.patterns import PATTERNS
from fastcollate.tokenizers.documents import encode_documents
from fastcollate.tokenizers.load import load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"hel": 257, b"12": 258}


def write(path, ranks):
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    return path


@pytest.mark.parametrize("pattern", [*PATTERNS, r"(?s:.+)"])
def test_a_file_of_ranks_and_a_pattern_are_an_encoding(tmp_path, pattern):
    ours = load_encoding(write(tmp_path / "my.tiktoken", RANKS), pattern=pattern)
    theirs = tiktoken.Encoding(
        "x", pat_str=PATTERNS.get(pattern, pattern), mergeable_ranks=RANKS, special_tokens={}
    )
    text = "hello 1234 it's"
    assert ours.encode(text).tolist() == theirs.encode_ordinary(text)
    assert (ours.name, ours.vocab_size, ours.eot_token_id) == ("my.tiktoken", 259, None)
    copy = pickle.loads(pickle.dumps(ours))
    assert (copy.sha256, copy.encode(text).tolist()) == (ours.sha256, ours.encode(text).tolist())


@pytest.mark.parametrize(
    ("content", "pattern", "message"),
    [
        (None, None, "says nothing of how a text is parted: give pattern=, one of cl100k_base, gpt2, o200k_base"),
        (
            b"aGU= 0\nnonsense\n",
            "gpt2",
            "line 2 is b'nonsense': a line is a token in base 64, a blank and its rank",
        ),
        (b"aGU= x\n", "gpt2", "line 1 is b'aGU= x'"),
        (b"a 1\n", "gpt2", "line 1 is b'a 1'"),
        (b"", "gpt2", "lacks the byte 0: every byte is a token, and every token has a rank of its own"),
        (None, "(", "\"my.tiktoken\" and the pattern '(' make no encoding ("),
    ],
)
def test_a_broken_file_of_ranks_is_named(tmp_path, content, pattern, message):
    path = write(tmp_path / "my.tiktoken", RANKS)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EncodingError) as caught:
        load_encoding(str(path), pattern=pattern)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_tokens_of_one_rank_are_refused(tmp_path):
    with pytest.raises(EncodingError, match="gives a rank to two tokens"):
        load_encoding(write(tmp_path / "my.tiktoken", RANKS | {b"ab": 256}), pattern="gpt2")


@pytest.mark.parametrize("name", ["none.tiktoken", "none.json", "none/tokenizer.json"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(EncodingError) as caught:
        load_encoding(tmp_path / name)
    assert str(caught.value).startswith(f'no file "{tmp_path / name}": encoding= takes a name, or the path of')
    with pytest.raises(EncodingError, match="no file"):
        load_encoding(name)


def test_a_directory_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(EncodingError, match="no file"):
        load_encoding(tmp_path)


@pytest.mark.parametrize("encoding", ["bytes", load_encoding("bytes")])
def test_a_pattern_goes_with_ranks_only(encoding):
    with pytest.raises(EncodingError) as caught:
        load_encoding(encoding, pattern="gpt2")
    assert str(caught.value) == (
        "pattern= goes with a .tiktoken file: every other encoding has its own; leave it out"
    )


def letters(text):
    return list(text.encode())


def decoded(ids):
    return bytes(ids).decode()


def test_a_function_is_a_tokenizer():
    ours = Tokenizer.from_callable(letters, vocab_size=257, eot_token_id=256, decode=decoded)
    assert isinstance(ours, Tokenizer)
    assert load_encoding(ours) is ours
    assert (ours.encode("é").tolist(), ours.encode("é").dtype) == ([195, 169], np.int64)
    assert (ours.encode_batch(["ab", "c"]).values.dtype, ours.decode(ours.encode("é"))) == (np.uint32, "é")
    copy = pickle.loads(pickle.dumps(ours))
    assert (copy.sha256, copy.encode("a").tolist()) == (ours.sha256, [97])
    other = Tokenizer.from_callable(letters, vocab_size=257, eot_token_id=256, name="other")
    assert other.sha256 != ours.sha256


def test_a_function_learns_texts_as_a_whole_or_with_lengths_in_part():
    whole = [Document([Segment("ab", 1.0)]), Document([Segment("c")]), Document([])]
    parted = [Document([Segment("a"), Segment("b")]), Document([Segment("c"), Segment("d", 1.0)])]
    blind = Tokenizer.from_callable(letters, vocab_size=257)
    assert encode_documents(blind, whole, end_token_id=256).spans.values.tolist() == [0, 3]
    with pytest.raises(EncodingError) as caught:
        encode_documents(blind, parted)
    assert str(caught.value).startswith(
        'the text is a target in part, and "callable" does not say where its tokens lie: give '
    )
    assert caught.value.document == 1
    seeing = Tokenizer.from_callable(letters, vocab_size=257, byte_lengths=[1] * 257)
    assert encode_documents(seeing, parted).spans.values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([0.5], "returns float64 with 1 dimension(s) for a text: return a flat list of ids"),
        ([[1]], "returns int64 with 2 dimension(s)"),
        ([257], "returns the id 257: ids go from 0 to vocab_size - 1, which is 256"),
        ([-1], "returns the id -1"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    ours = Tokenizer.from_callable(lambda _: returned, vocab_size=257)
    with pytest.raises(EncodingError) as caught:
        ours.encode_batch(["a"])
    assert message in str(caught.value)
    assert caught.value.document == 0


def test_what_a_function_lacks_is_said():
    with pytest.raises(EncodingError, match=r"byte_lengths has shape \(3,\): it needs one number for each"):
        Tokenizer.from_callable(letters, vocab_size=257, byte_lengths=[1, 2, 3])
    with pytest.raises(EncodingError, match=r'"callable" cannot decode: give Tokenizer\.from_callable a decode='):
        Tokenizer.from_callable(letters, vocab_size=257).decode([1])
