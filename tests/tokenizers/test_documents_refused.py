"""Documents that cannot be encoded are named, with what to do."""

import pytest
import tiktoken

from fastcollate.errors import EncodingError, InputError
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers.documents import encode_documents
from fastcollate.tokenizers.load import load_encoding


def test_a_pattern_that_drops_text_is_refused():
    words = tiktoken.Encoding(
        "words",
        pat_str=r"\w+",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    with pytest.raises(EncodingError) as caught:
        encode_documents(load_encoding(words), [Document([Segment(text, 1.0)]) for text in ("fine", "not fine")])
    assert str(caught.value) == (
        'encoding "words" drops text: its pattern must match every character; let it end in |(?s:.)'
    )
    assert caught.value.document == 1


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 1e300])
def test_a_weight_is_a_number_from_0(weight):
    with pytest.raises(InputError) as caught:
        encode_documents(load_encoding("bytes"), [Document([Segment("a", 1), Segment("b", weight)])])
    assert str(caught.value) == (
        f"a segment has weight {weight}: weights are numbers from 0, which makes no targets; let the template "
        "give such ones"
    )
