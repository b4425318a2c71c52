"""Tokenizers of every kind of encoding: loaded by name or wrapped, hashed, decoded, sent to other processes."""

import pickle
import time

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError
from fastcollate.tokenizers.byte_pairs import published
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer
from fastcollate.tokenizers.load import load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer

BYTES = load_encoding("bytes")
LETTERS = {bytes([i]): i for i in range(256)}
# Few words, many merges: tokens of several bytes that cross the borders of segments and characters.
TOY_ENCODING = tiktoken.Encoding(
    "toy",
    pat_str=r"(?s:.+)",
    mergeable_ranks=LETTERS | {b"ab": 256, b"abc": 257, "é".encode(): 258, b"  ": 259, b"a\xc3": 260, b"cab": 261},
    special_tokens={"<|endoftext|>": 300},
)
TOY = load_encoding(TOY_ENCODING)


def gpt2() -> Tokenizer:
    try:
        return load_encoding("gpt2")
    except EncodingError as error:
        pytest.skip(str(error))


def test_bytes_encode_any_text_fast():
    text = "plain, héllo, 漢字 \ud800\n" * 5000
    start = time.perf_counter()
    ids = BYTES.encode(text)
    assert time.perf_counter() - start < 1
    assert ids.dtype == np.int64
    assert bytes(ids.tolist()) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def test_a_name_is_loaded_once_and_a_tokenizer_passes_through():
    assert load_encoding("bytes") is BYTES
    assert load_encoding(TOY) is TOY
    assert isinstance(TOY, Tokenizer)
    assert (TOY.name, TOY.vocab_size, TOY.eot_token_id) == ("toy", 301, 300)


class Words:
    """A tokenizer of somebody else's, with as many ids as it takes."""

    name, sha256, vocab_size, eot_token_id = "words", "0" * 64, 3, 2
    encode = encode_batch = encode_with_offsets = byte_lengths = control_id = decode = len


def test_whatever_does_what_a_tokenizer_does_is_one():
    words = Words()
    assert load_encoding(words) is words


def test_a_batch_is_what_each_text_is():
    texts = ["", "abcab", "é漢 <|endoftext|>", "  a"]
    batch = TOY.encode_batch(texts)
    assert batch.values.dtype == np.uint32
    assert [row.tolist() for row in batch] == [TOY.encode(text).tolist() for text in texts]
    assert TOY.encoding is TOY_ENCODING
    assert [row.tolist() for row in batch] == [TOY_ENCODING.encode_ordinary(text) for text in texts]


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=5))
def test_batches_of_bytes_are_what_tiktoken_gives(texts):
    batch = BYTES.encode_batch(texts)
    assert batch.values.dtype == np.uint32
    assert [row.tolist() for row in batch] == [BYTES.encoding.encode_ordinary(text) for text in texts]


def test_control_tokens_have_names():
    assert (TOY.control_id("<|endoftext|>"), TOY.control_id("ab"), BYTES.control_id("<|endoftext|>")) == (
        300,
        None,
        256,
    )


def test_a_tokenizer_with_a_name_travels_by_it():
    for tokenizer in (BYTES, gpt2()):
        assert len(pickle.dumps(tokenizer)) < 100
        assert pickle.loads(pickle.dumps(tokenizer)) is tokenizer


def test_a_tokenizer_of_ones_own_travels_whole():
    ours = BpeTokenizer(tiktoken.Encoding("gpt2", pat_str="(?s:.)", mergeable_ranks=LETTERS, special_tokens={}))
    copy = pickle.loads(pickle.dumps(ours))
    assert (copy.name, copy.sha256, copy.eot_token_id) == ("gpt2", ours.sha256, None)
    assert copy.encode("ab").tolist() == ours.encode("ab").tolist() == [97, 98]


@pytest.mark.parametrize("name", ["byte", "tokens", "", None, 3])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(EncodingError) as caught:
        load_encoding(name)
    message = str(caught.value)
    known = ", ".join(["bytes", *sorted(tiktoken.list_encoding_names())])
    assert message.startswith(
        f"encoding {name!r} is unknown: use one of {known}, the path of a tokenizer.json, or"
    )
    assert message.endswith('; did you mean "bytes"?') == (name == "byte")


def test_lengths_of_tokens_know_holes_and_end_tokens():
    lengths = TOY.byte_lengths()
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [1] * 256 + [2, 3, 2, 2, 2, 3] + [0] * 38 + [13]
    assert not lengths.flags.writeable


def test_the_hash_is_of_the_content():
    fields = {
        "pat_str": TOY_ENCODING._pat_str,
        "mergeable_ranks": dict(reversed(TOY_ENCODING._mergeable_ranks.items())),
        "special_tokens": TOY_ENCODING._special_tokens,
    }
    same = load_encoding(tiktoken.Encoding("toy", **fields))
    assert same.sha256 == TOY.sha256
    other = load_encoding(tiktoken.Encoding("toy", **{**fields, "special_tokens": {"<|endoftext|>": 299}}))
    assert other.sha256 != TOY.sha256


def test_the_hash_of_bytes_is_the_same_on_every_machine():
    assert BYTES.sha256 == "01731bcf6094fb21e457dad2414596a65bdf7625bd798a38ce755103918df7b5"


def test_half_a_character_decodes_to_a_replacement():
    assert BYTES.decode(np.array([104, 0xC3], np.uint16)) == "h\ufffd"
    assert BYTES.decode([]) == ""


@pytest.mark.parametrize("bad", [270, -1, 2**40, 0.5])
def test_decoding_an_id_that_is_no_token_names_it(bad):
    with pytest.raises(EncodingError) as caught:
        TOY.decode([bad])
    assert str(caught.value) == (
        f'{bad} is no token of encoding "toy": ids go from 0 to 300; load the encoding these ids were made with'
    )


def test_gpt2_ends_text_with_50256():
    assert gpt2().eot_token_id == 50256
    assert gpt2().vocab_size == 50257


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine without network, and with an empty cache that nobody can write to."""

    def refuse(address):
        raise ConnectionError(f"no route to {address}\nat all")

    tmp_path.chmod(0o500)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.load, "read_file", refuse)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    published.load_bpe.cache_clear()
    yield tmp_path
    published.load_bpe.cache_clear()
    tmp_path.chmod(0o700)


def test_gpt2_comes_from_the_package_when_offline(offline):
    if published._packaged_encoder() is None:
        pytest.skip("needs fastcollate[gpt2]")
    encoding = load_encoding("gpt2")
    assert encoding.encode("Hello, world").tolist() == [15496, 11, 995]
    assert encoding.sha256 == "4807ffe2129290b16861e754cc16de278e739c650aef44d09df4c357720adfbf"
    assert list(offline.iterdir()) == []


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base"])
def test_a_vocabulary_out_of_reach_names_the_ways_out(offline, monkeypatch, name):
    monkeypatch.setattr(published, "find_spec", lambda _: None)
    with pytest.raises(EncodingError) as caught:
        load_encoding(name)
    message = str(caught.value)
    assert message.startswith(f'the vocabulary of encoding "{name}" cannot be reached (ConnectionError: no route')
    assert message.endswith(
        "connect to the internet, point TIKTOKEN_CACHE_DIR at a directory with tiktoken's files, install "
        'fastcollate[gpt2] (a package with GPT-2\'s), or use encoding "bytes", which needs nothing'
    )
    assert "\n" not in message


def test_a_damaged_package_is_not_used(offline, monkeypatch, tmp_path_factory):
    package = tmp_path_factory.mktemp("package")
    (package / "data").mkdir()
    (package / "data" / "encoder.json").write_text("{}")
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr(published, "find_spec", lambda _: spec)
    with pytest.raises(EncodingError, match="cannot be reached"):
        load_encoding("gpt2")
