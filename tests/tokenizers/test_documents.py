"""Documents become the tokens of their whole text, and spans that hold every supervised byte."""

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from oracles import spans_of

from fastcollate.errors import EncodingError
from fastcollate.ragged import Ragged
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks
from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.segments import Document, Segment, Texts
from fastcollate.tokenizers.documents import encode_documents
from fastcollate.tokenizers.load import load_encoding

NOTEBOOK = Path(__file__).parents[3] / "shared/data/instruction-data.json"
# Few words, many merges: tokens of several bytes that cross the borders of segments and characters.
TOY = tiktoken.Encoding(
    "toy",
    pat_str=r"(?s:.+)",
    mergeable_ranks={bytes([i]): i for i in range(256)}
    | {b"ab": 256, b"abc": 257, "é".encode(): 258, b"  ": 259, b"a\xc3": 260, b"cab": 261},
    special_tokens={"<|endoftext|>": 300, "<|im_start|>": 301, "<|im_end|>": 302},
)


def gpt2():
    try:
        return load_encoding("gpt2")
    except EncodingError as error:
        pytest.skip(str(error))


class Places:
    """A tokenizer that says where its tokens lie, and not how long they are."""

    def __init__(self, tokenizer):
        self.name, self.eot_token_id = "places", tokenizer.eot_token_id
        self.encode_with_offsets, self.control_id = tokenizer.encode_with_offsets, tokenizer.control_id

    def byte_lengths(self):
        return None


def documents_of(documents):
    """Documents given as lists of (text, weight) or (text, weight, control)."""
    return [Document([Segment(*segment) for segment in document]) for document in documents]


def encode(encoding, documents, **options):
    tokenizer = encoding if isinstance(encoding, Places) else load_encoding(encoding)
    return encode_documents(tokenizer, documents_of(documents), **options)


def mended(text: str) -> bytes:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def items_of(tokenizer, document):
    """Each item is a control token's id, or the segments of one text."""
    items = []
    for text, weight, *control in document:
        known = tokenizer.control_id(text) if control and control[0] else None
        if known is not None:
            items.append((known, weight))
        elif (control and control[0]) or not items or not isinstance(items[-1], list) or items[-1][0] == "alone":
            items.append(["alone" if control and control[0] else "text", (text, weight)])
        else:
            items[-1].append((text, weight))
    return items


def slow_document(tokenizer, document, end, whole_characters):
    """Token by token: the weights of its bytes, and the largest of them."""
    ids, weights, straddled = [], [], False
    for item in items_of(tokenizer, document):
        if isinstance(item, tuple):
            ids.append(item[0])
            weights.append(item[1])
            continue
        text, of_bytes = "".join(text for text, _ in item[1:]), []
        for i, (_, weight) in enumerate(item[1:]):
            before = "".join(text for text, _ in item[1 : i + 1])
            after = "".join(text for text, _ in item[1 : i + 2])
            of_bytes += [weight] * (len(mended(after)) - len(mended(before)))
        if whole_characters:
            data = mended(text)
            starts = [i for i, byte in enumerate(data) if byte & 0xC0 != 0x80] + [len(data)]
        byte = 0
        for token in tokenizer.encode(text).tolist():
            first, stop = byte, byte + int(tokenizer.byte_lengths()[token])
            byte = stop
            if whole_characters:
                first = max(place for place in starts if place <= first)
                stop = min(place for place in starts if place >= stop)
            ids.append(token)
            weights.append(max(of_bytes[first:stop]))
            straddled |= weights[-1] > 0 and min(of_bytes[first:stop]) == 0
    if end is not None and (not ids or ids[-1] != end) and not has_ended(tokenizer, document, end):
        said = [weight for text, weight, *control in document if text and (weight or any(control))]
        ids.append(end)
        weights.append(said[-1] if said else 0)
    return ids, weights, straddled


def has_ended(tokenizer, document, end):
    """Whether blanks that are no target are all that comes after the end."""
    for text, weight, *control in reversed(document):
        if text and (weight or any(control) or text.strip()):
            return any(control) and tokenizer.control_id(text) == end
    return False


def slow_documents(tokenizer, documents, end, whole_characters):
    made = [slow_document(tokenizer, document, end, whole_characters) for document in documents]
    spans = [spans_of(weights) for _, weights, _ in made]
    found = [weight for _, some in spans for weight in some]
    return (
        Ragged.from_rows([ids for ids, _, _ in made], np.uint32),
        Ragged.from_rows([pairs for pairs, _ in spans], np.uint32),
        None if all(weight == 1 for weight in found) else np.array(found, np.float32),
        np.array([straddled for _, _, straddled in made], bool),
    )


def assert_same_as_slow(encoding, documents, end=None):
    tokenizer = load_encoding(encoding)
    halves = any("\ud800" <= letter < "\ue000" for row in documents for segment in row for letter in segment[0])
    for whole_characters in (False,) if halves else (False, True):  # two halves are one character
        slow = slow_documents(tokenizer, documents, end, whole_characters)
        given = Places(tokenizer) if whole_characters else tokenizer
        fast = encode_documents(given, documents_of(documents), end_token_id=end)
        for mine, theirs in zip(fast[:2], slow[:2], strict=True):
            assert mine == theirs
            assert mine.offsets.dtype == np.int64
        assert (fast.weights is None) == (slow[2] is None)
        for mine, theirs in ((fast.weights, slow[2]), (fast.straddled, slow[3])):
            if theirs is not None:
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs)
        if all(documents) and all(len(segment) == 2 for row in documents for segment in row):
            assert_same(encode_documents(given, texts_of(documents), end_token_id=end), fast)


def texts_of(documents):
    """Documents given as lists of (text, weight), as whole texts."""
    segments = [segment for document in documents for segment in document]
    return Texts(
        ["".join(text for text, _ in document) for document in documents],
        np.array([len(text) for text, _ in segments], np.int64),
        np.array([weight for _, weight in segments], np.float32),
        np.array([0, *accumulate(map(len, documents))], np.int64),
    )


def assert_same(found, wanted):
    assert found[:2] == wanted[:2]
    for mine, theirs in zip(found[2:], wanted[2:], strict=True):
        np.testing.assert_array_equal(mine, theirs)


LETTERS = st.text(st.sampled_from(["a", "b", "c", " ", "é", "漢", "😀", "\ud83d", "\ude00", "\ufeff", "\n"]))
ANY_TEXT = st.text(st.characters(exclude_categories=()))
FLAGS = st.sampled_from([0.0, 1.0])
WEIGHTS = st.sampled_from([0.0, 0.25, 1.0, 2.0])
CONTROLS = st.tuples(
    st.sampled_from(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|none|>", ""]), WEIGHTS, st.just(True)
)
DOCUMENTS = st.lists(st.lists(st.tuples(LETTERS | ANY_TEXT, FLAGS), max_size=5), max_size=5)
CHATS = st.lists(st.lists(st.tuples(LETTERS, WEIGHTS) | CONTROLS, max_size=6), max_size=5)


@given(DOCUMENTS, st.sampled_from([None, 256]))
def test_documents_of_bytes_are_what_the_slow_way_gives(documents, end):
    assert_same_as_slow("bytes", documents, end)


@given(DOCUMENTS, st.sampled_from([None, 300]))
def test_documents_of_merged_tokens_are_what_the_slow_way_gives(documents, end):
    assert_same_as_slow(TOY, documents, end)


@given(CHATS, st.sampled_from([None, 300, 302]))
def test_documents_with_control_tokens_and_weights_are_what_the_slow_way_gives(documents, end):
    assert_same_as_slow(TOY, documents, end)


@given(DOCUMENTS)
def test_documents_of_gpt2_are_what_the_slow_way_gives(documents):
    assert_same_as_slow(gpt2(), documents, 50256)


def test_a_token_that_straddles_the_border_is_a_target():
    encoded = encode(TOY, [[("a", 0), ("bcab", 1)], [("a", 1), ("b", 0)], [("a", 0), ("c", 1)]])
    assert encoded.tokens.values.tolist() == [257, 256, 256, 97, 99]
    assert (encoded.spans.values.tolist(), encoded.spans.offsets.tolist()) == ([0, 2, 0, 1, 1, 2], [0, 2, 4, 6])
    assert encoded.straddled.tolist() == [True, True, False]


def test_a_prompt_that_ends_in_a_blank_leaves_the_answer_learnt():
    encoded = encode(gpt2(), [[("Sentiment: ", 0), ("positive", 1)]], end_token_id=50256)
    assert encoded.spans.values.tolist() == [3, 5]
    assert gpt2().decode(encoded.tokens[0][3:4]) == " positive"
    assert encoded.straddled.tolist() == [True]


def test_neighbouring_segments_of_one_weight_are_one_span():
    encoded = encode("bytes", [[("ab", 1), ("", 0), ("c", 1), ("d", 0), ("e", 1)]])
    assert (encoded.spans.values.tolist(), encoded.weights) == ([0, 3, 4, 5], None)


def test_different_weights_are_different_spans_and_a_token_of_two_has_the_larger():
    encoded = encode(TOY, [[("c", 1), ("ca", 0.5), ("b", 2), ("b", 0.5)]])
    assert encoded.tokens.values.tolist() == [99, 261, 98]
    assert encoded.spans.values.tolist() == [0, 1, 1, 2, 2, 3]
    np.testing.assert_array_equal(encoded.weights, np.array([1, 2, 0.5], np.float32))
    assert encoded.weights.dtype == np.float32


def test_a_control_segment_is_the_token_of_that_name_or_text_of_its_own():
    encoded = encode(TOY, [[("a", 0), ("<|im_start|>", 0, True), ("b", 1), ("<|im_end|>", 1, True), ("a", 0)]])
    assert (encoded.tokens.values.tolist(), encoded.spans.values.tolist()) == ([97, 301, 98, 302, 97], [2, 4])
    encoded = encode(TOY, [[("a", 0), ("b", 0, True), ("c", 1)]])
    assert (encoded.tokens.values.tolist(), encoded.spans.values.tolist()) == ([97, 98, 99], [2, 3])


def test_spelling_a_control_token_makes_none_and_is_told():
    documents = [[("<|endo", 0), ("ftext|>", 1)], [("<|endoftext", 1)], [], [("<|im_end|>", 1, True)]]
    encoded = encode(TOY, documents)
    assert bytes(encoded.tokens[0].tolist()) == b"<|endoftext|>"
    assert encoded.control_spelt.tolist() == [True, False, False, False]
    # A name that is no token stands as text where a template put it: the same text in a message is told too.
    forged = [[("<|user|>", 0, True), ("hi", 0)], [("<|user|>", 0, True), ("hi<|user|>", 0)], [("<|user|>", 0)]]
    assert encode(TOY, forged).control_spelt.tolist() == [False, True, False]
    alone = [[("<|im_start|>", 0, True), ("<|im_end|>", 0), ("<|im_end|>", 0, True)]]
    assert encode(TOY, alone).control_spelt.tolist() == [True]


@pytest.mark.parametrize(
    ("document", "spans"),
    [
        ([("c", 0), ("b", 1)], [1, 3]),
        ([("c", 0), ("b", 1), (" \n", 0)], [1, 2, 4, 5]),
        ([("a", 0), ("", 1)], []),
        ([("a", 1), ("c", 0)], [0, 1, 2, 3]),
        ([("<|im_start|>", 1, True), ("a", 0), ("<|im_end|>", 0, True)], [0, 1]),
        ([(" ", 1)], [0, 2]),
        ([("<|im_end|>", 1, True), (" ", 0)], [0, 1, 2, 3]),
        ([], []),
    ],
)
def test_the_end_token_is_a_target_with_the_last_target_or_a_later_control_token(document, spans):
    encoded = encode(TOY, [document], end_token_id=300)
    assert encoded.tokens.values[-1] == 300
    assert encoded.spans.values.tolist() == spans


def test_no_documents_give_no_tokens():
    for encoding in ("bytes", Places(load_encoding("bytes"))):
        for end in (None, 256):
            tokens, spans, weights, straddled, spelt, absent = encode(encoding, [], end_token_id=end)
            assert (len(tokens), len(spans), tokens.values.dtype, spans.values.dtype) == (
                0,
                0,
                np.uint32,
                np.uint32,
            )
            assert (weights, straddled.tolist(), spelt.tolist(), absent) == (None, [], [], frozenset())


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="needs the notebook's records")
def test_gpt2_gives_the_notebook_its_known_tokens():
    template = PromptTemplate.named("alpaca")
    records = [record for chunk in read_chunks(resolve(NOTEBOOK)) for record in chunk.records]
    documents = [document for record in records for document in template.documents(record)]
    tokens = encode_documents(gpt2(), documents).tokens
    assert (len(tokens), len(tokens.values), tokens.lengths.min(), tokens.lengths.max()) == (1100, 62025, 40, 91)
    assert gpt2().decode(tokens[0]) == "".join(segment.text for segment in documents[0].segments)
