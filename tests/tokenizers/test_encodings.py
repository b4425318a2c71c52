import time
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError
from fastcollate.text import encodings
from fastcollate.text.encodings import (
    decode,
    describe,
    encode_chunk,
    load_encoding,
    token_byte_lengths,
)
from fastcollate.text.prompts import PromptTemplate
from fastcollate.text.records import read_chunks

NOTEBOOK = Path(__file__).parents[3] / "shared/data/instruction-data.json"
BYTES = load_encoding("bytes")
# Few words, many merges: tokens of several bytes that cross the borders of segments and characters.
TOY = tiktoken.Encoding(
    "toy",
    pat_str=r"(?s:.+)",
    mergeable_ranks={bytes([i]): i for i in range(256)}
    | {b"ab": 256, b"abc": 257, "é".encode(): 258, b"  ": 259, b"a\xc3": 260, b"cab": 261},
    special_tokens={"<|endoftext|>": 300},
)


def gpt2() -> tiktoken.Encoding:
    try:
        return load_encoding("gpt2")
    except EncodingError as error:
        pytest.skip(str(error))


def bytes_before(texts: list[str]) -> int:
    return len("".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())


def slow_chunk(encoding, documents):
    """Token by token: the flag of every byte of a document, then the runs of fully supervised tokens."""
    values, offsets, spans, span_offsets = [], [0], [], [0]
    for document in documents:
        texts = [text for text, _ in document]
        flags = []
        for i, (_, supervised) in enumerate(document):
            flags += [supervised] * (bytes_before(texts[: i + 1]) - bytes_before(texts[:i]))
        ids, inside, byte = encoding.encode_ordinary("".join(texts)), [], 0
        for token in ids:
            size = len(encoding.decode_single_token_bytes(token))
            inside.append(all(flags[byte : byte + size]))
            byte += size
        for i, held in enumerate(inside):
            if held and i > 0 and inside[i - 1]:
                spans[-1] = i + 1
            elif held:
                spans += [i, i + 1]
        values += ids
        offsets.append(len(values))
        span_offsets.append(len(spans))
    return (
        np.array(values, np.uint32),
        np.array(offsets, np.int64),
        np.array(spans, np.uint32),
        np.array(span_offsets, np.int64),
    )


def assert_same_as_slow(encoding, documents):
    for fast, slow in zip(encode_chunk(encoding, documents), slow_chunk(encoding, documents), strict=True):
        assert fast.dtype == slow.dtype
        np.testing.assert_array_equal(fast, slow)


LETTERS = st.text(st.sampled_from(["a", "b", "c", " ", "é", "漢", "😀", "\ud83d", "\ude00", "\ufeff", "\n"]))
ANY_TEXT = st.text(st.characters(exclude_categories=()))
DOCUMENTS = st.lists(st.lists(st.tuples(LETTERS | ANY_TEXT, st.booleans()), max_size=5), max_size=5)


@given(DOCUMENTS)
def test_a_chunk_of_bytes_is_what_the_slow_way_gives(documents):
    assert_same_as_slow(BYTES, documents)


@given(DOCUMENTS)
def test_a_chunk_of_merged_tokens_is_what_the_slow_way_gives(documents):
    assert_same_as_slow(TOY, documents)


@given(DOCUMENTS)
def test_a_chunk_of_gpt2_is_what_the_slow_way_gives(documents):
    assert_same_as_slow(gpt2(), documents)


def test_a_token_that_straddles_the_border_counts_as_prompt():
    chunk = encode_chunk(TOY, [[("a", False), ("bcab", True)], [("a", True), ("b", False)]])
    assert chunk.values.tolist() == [257, 256, 256]
    assert chunk.span_values.tolist() == [1, 2]
    assert chunk.span_offsets.tolist() == [0, 2, 2]


def test_neighbouring_supervised_segments_are_one_span():
    chunk = encode_chunk(BYTES, [[("ab", True), ("", False), ("c", True), ("d", False), ("e", True)]])
    assert chunk.span_values.tolist() == [0, 3, 4, 5]


def test_spelling_the_end_token_makes_no_end_token():
    chunk = encode_chunk(BYTES, [[("<|endoftext|>", True)]])
    assert chunk.values.tolist() == list(b"<|endoftext|>")


def test_a_pattern_that_drops_text_is_refused():
    words = tiktoken.Encoding(
        "words",
        pat_str=r"\w+",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    with pytest.raises(EncodingError) as caught:
        encode_chunk(words, [[("fine", True)], [("not fine", True)]])
    assert str(caught.value) == (
        'encoding "words" drops text of document 1 of this chunk: its pattern must match every character; '
        "let it end in |(?s:.)"
    )


def test_bytes_encode_any_text_fast():
    text = "plain, héllo, 漢字 \ud800\n" * 5000
    start = time.perf_counter()
    ids = BYTES.encode_ordinary(text)
    assert time.perf_counter() - start < 1
    assert bytes(ids) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def test_an_encoding_is_loaded_once_and_passes_through():
    assert load_encoding("bytes") is BYTES
    assert load_encoding(TOY) is TOY


@pytest.mark.parametrize("name", ["byte", "tokens.tiktoken", "", None, 3])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(EncodingError) as caught:
        load_encoding(name)
    message = str(caught.value)
    known = ", ".join(["bytes", *sorted(tiktoken.list_encoding_names())])
    assert message.startswith(f"encoding {name!r} is unknown: use one of {known}, or a tiktoken.Encoding")
    assert message.endswith('; did you mean "bytes"?') == (name == "byte")


def test_lengths_of_tokens_know_holes_and_end_tokens():
    lengths = token_byte_lengths(TOY)
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [1] * 256 + [2, 3, 2, 2, 2, 3] + [0] * 38 + [13]
    assert not lengths.flags.writeable


def test_an_encoding_is_described_by_its_content():
    fields = {
        "pat_str": TOY._pat_str,
        "mergeable_ranks": dict(reversed(TOY._mergeable_ranks.items())),
        "special_tokens": TOY._special_tokens,
    }
    info = describe(tiktoken.Encoding("toy", **fields))
    assert info == describe(TOY)
    assert (info.name, info.n_vocab, info.eot_token_id) == ("toy", 301, 300)
    other = describe(tiktoken.Encoding("toy", **{**fields, "special_tokens": {"<|endoftext|>": 299}}))
    assert other.sha256 != info.sha256


def test_the_hash_of_bytes_is_the_same_on_every_machine():
    assert describe(BYTES).sha256 == "01731bcf6094fb21e457dad2414596a65bdf7625bd798a38ce755103918df7b5"


def test_an_encoding_without_end_token_cannot_be_described():
    endless = tiktoken.Encoding(
        "endless", pat_str="(?s:.)", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    with pytest.raises(EncodingError, match=r"endless\" has no <\|endoftext\|>: .* add it to special_tokens"):
        describe(endless)


def test_half_a_character_decodes_to_a_replacement():
    assert decode(BYTES, np.array([104, 0xC3], np.uint16)) == "h\ufffd"
    assert decode(BYTES, []) == ""


@pytest.mark.parametrize("bad", [270, -1, 2**40, 0.5])
def test_decoding_an_id_that_is_no_token_names_it(bad):
    with pytest.raises(EncodingError) as caught:
        decode(TOY, [bad])
    assert str(caught.value) == (
        f'{bad} is no token of encoding "toy": ids go from 0 to 300; load the encoding these ids were made with'
    )


def test_gpt2_ends_text_with_50256():
    assert describe(gpt2()).eot_token_id == 50256
    assert describe(gpt2()).n_vocab == 50257


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="needs the notebook's records")
def test_gpt2_gives_the_notebook_its_known_tokens():
    template = PromptTemplate.named("alpaca")
    documents = [template.segments(r) for chunk in read_chunks(NOTEBOOK) for r in chunk.records]
    chunk = encode_chunk(gpt2(), documents)
    lengths = np.diff(chunk.offsets)
    assert (len(lengths), len(chunk.values), lengths.min(), lengths.max()) == (1100, 62025, 40, 91)
    assert decode(gpt2(), chunk.values[: chunk.offsets[1]]) == "".join(text for text, _ in documents[0])


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine without network, and with an empty cache that nobody can write to."""

    def refuse(address):
        raise ConnectionError(f"no route to {address}\nat all")

    tmp_path.chmod(0o500)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.load, "read_file", refuse)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    encodings._load_known.cache_clear()
    yield tmp_path
    encodings._load_known.cache_clear()
    tmp_path.chmod(0o700)


def test_gpt2_comes_from_the_package_when_offline(offline):
    if encodings._packaged_encoder() is None:
        pytest.skip("needs fastcollate[gpt2]")
    encoding = load_encoding("gpt2")
    assert encoding.encode_ordinary("Hello, world") == [15496, 11, 995]
    assert describe(encoding).sha256 == "4807ffe2129290b16861e754cc16de278e739c650aef44d09df4c357720adfbf"
    assert list(offline.iterdir()) == []


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base"])
def test_a_vocabulary_out_of_reach_names_the_ways_out(offline, monkeypatch, name):
    monkeypatch.setattr(encodings, "find_spec", lambda _: None)
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
    monkeypatch.setattr(encodings, "find_spec", lambda _: spec)
    with pytest.raises(EncodingError, match="cannot be reached"):
        load_encoding("gpt2")
