"""Documents become the tokens of their whole text, and spans that cover supervised bytes only."""

from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError, InputError
from fastcollate.ragged import Ragged
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks
from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers.documents import encode_documents, truncate
from fastcollate.tokenizers.load import load_encoding

NOTEBOOK = Path(__file__).parents[3] / "shared/data/instruction-data.json"
# Few words, many merges: tokens of several bytes that cross the borders of segments and characters.
TOY = tiktoken.Encoding(
    "toy",
    pat_str=r"(?s:.+)",
    mergeable_ranks={bytes([i]): i for i in range(256)}
    | {b"ab": 256, b"abc": 257, "é".encode(): 258, b"  ": 259, b"a\xc3": 260, b"cab": 261},
    special_tokens={"<|endoftext|>": 300},
)


def gpt2():
    try:
        return load_encoding("gpt2")
    except EncodingError as error:
        pytest.skip(str(error))


def encode(encoding, documents, **options):
    """Documents given as (text, supervised) pairs."""
    made = [Document([Segment(text, float(flag)) for text, flag in document]) for document in documents]
    return encode_documents(load_encoding(encoding), made, **options)


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
        ids, inside, byte = encoding.encode("".join(texts)).tolist(), [], 0
        for token in ids:
            size = int(encoding.byte_lengths()[token])
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
    tokens, spans = encode(encoding, documents)
    fast_arrays = (tokens.values, tokens.offsets, spans.values, spans.offsets)
    for fast, slow in zip(fast_arrays, slow_chunk(load_encoding(encoding), documents), strict=True):
        assert fast.dtype == slow.dtype
        np.testing.assert_array_equal(fast, slow)


LETTERS = st.text(st.sampled_from(["a", "b", "c", " ", "é", "漢", "😀", "\ud83d", "\ude00", "\ufeff", "\n"]))
ANY_TEXT = st.text(st.characters(exclude_categories=()))
DOCUMENTS = st.lists(st.lists(st.tuples(LETTERS | ANY_TEXT, st.booleans()), max_size=5), max_size=5)


@given(DOCUMENTS)
def test_a_chunk_of_bytes_is_what_the_slow_way_gives(documents):
    assert_same_as_slow("bytes", documents)


@given(DOCUMENTS)
def test_a_chunk_of_merged_tokens_is_what_the_slow_way_gives(documents):
    assert_same_as_slow(TOY, documents)


@given(DOCUMENTS)
def test_a_chunk_of_gpt2_is_what_the_slow_way_gives(documents):
    assert_same_as_slow(gpt2(), documents)


def test_a_token_that_straddles_the_border_counts_as_prompt():
    tokens, spans = encode(TOY, [[("a", False), ("bcab", True)], [("a", True), ("b", False)]])
    assert tokens.values.tolist() == [257, 256, 256]
    assert (spans.values.tolist(), spans.offsets.tolist()) == ([1, 2], [0, 2, 2])


def test_neighbouring_supervised_segments_are_one_span():
    _, spans = encode("bytes", [[("ab", True), ("", False), ("c", True), ("d", False), ("e", True)]])
    assert spans.values.tolist() == [0, 3, 4, 5]


def test_spelling_the_end_token_makes_no_end_token():
    tokens, _ = encode("bytes", [[("<|endoftext|>", True)]])
    assert tokens.values.tolist() == list(b"<|endoftext|>")


def test_no_documents_give_no_tokens():
    for end in (None, 256):
        tokens, spans = encode("bytes", [], end_token_id=end)
        assert (len(tokens), len(spans), tokens.values.dtype, spans.values.dtype) == (0, 0, np.uint32, np.uint32)


def test_a_pattern_that_drops_text_is_refused():
    words = tiktoken.Encoding(
        "words",
        pat_str=r"\w+",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    with pytest.raises(EncodingError) as caught:
        encode(words, [[("fine", True)], [("not fine", True)]])
    assert str(caught.value) == (
        'encoding "words" drops text of document 1 of this chunk: its pattern must match every character; '
        "let it end in |(?s:.)"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            Document([Segment("a"), Segment("b", 0.5)]),
            "a segment has weight 0.5: it must be 0 or 1, all that a store",
        ),
        (
            Document([Segment("<|endoftext|>", 1.0, control=True)]),
            "a segment is a control token: a template gives",
        ),
        (
            Document([Segment("a")], group=0),
            "a document is of a group: a store holds no groups yet; leave group at",
        ),
    ],
)
def test_what_a_store_cannot_hold_is_refused(document, message):
    with pytest.raises(InputError, match=message):
        encode_documents(load_encoding("bytes"), [document])


# Ends and cuts


def rows(tokens, spans):
    return [(t.tolist(), s.reshape(-1, 2).tolist()) for t, s in zip(tokens, spans, strict=True)]


def with_end_slowly(tokens, spans, end):
    """The end token behind a document, inside the span that reaches it, or in one of its own."""
    if spans and spans[-1][1] == len(tokens):
        return [*tokens, end], [*spans[:-1], [spans[-1][0], len(tokens) + 1]]
    return [*tokens, end], [*spans, [len(tokens), len(tokens) + 1]]


def cut_slowly(tokens, spans, limit):
    return tokens[:limit], [[start, min(stop, limit)] for start, stop in spans if start < limit]


@given(DOCUMENTS)
def test_an_end_token_is_supervised_in_every_document(documents):
    plain = rows(*encode(TOY, documents))
    assert rows(*encode(TOY, documents, end_token_id=300)) == [with_end_slowly(*row, 300) for row in plain]


@given(DOCUMENTS, st.integers(1, 12))
def test_truncating_cuts_tokens_and_spans(documents, limit):
    whole = encode("bytes", documents)
    cut = truncate(*whole, limit)
    assert rows(*cut) == [cut_slowly(*row, limit) for row in rows(*whole)]
    assert [part.values.dtype for part in cut] == [np.uint32, np.uint32]


def test_what_is_short_enough_is_not_copied():
    tokens, spans = Ragged.from_rows([[1, 2], [3]], np.uint32), Ragged.from_rows([[0, 2], []], np.uint32)
    assert truncate(tokens, spans, 2) == (tokens, spans)
    assert truncate(tokens, spans, 2)[0].values is tokens.values


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="needs the notebook's records")
def test_gpt2_gives_the_notebook_its_known_tokens():
    template = PromptTemplate.named("alpaca")
    records = [record for chunk in read_chunks(resolve(NOTEBOOK)) for record in chunk.records]
    documents = [document for record in records for document in template.documents(record)]
    tokens, _ = encode_documents(gpt2(), documents)
    assert (len(tokens), len(tokens.values), tokens.lengths.min(), tokens.lengths.max()) == (1100, 62025, 40, 91)
    assert gpt2().decode(tokens[0]) == "".join(segment.text for segment in documents[0].segments)
