"""A document has one beginning and one end, whether the template or the tokenizer writes them."""

import json

import numpy as np
import pytest

from fastcollate import ChatTemplate, prepare
from fastcollate.errors import EncodingError
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import CONTROL_LOOKS, CONTROL_NAMES, Document, Segment
from fastcollate.tokenizers.documents import encode_documents
from fastcollate.tokenizers.load import load_encoding
from fastcollate.tokenizers.pieces import control_ids

pytest.importorskip("tokenizers.models")
import re

import tokenizers as hf
from tokenizers import decoders, models, pre_tokenizers, processors

CHAT = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def saved(folder, *special, bos=None):
    """A tokenizer.json of letters and `special`, which puts `bos` before each text as Llama's does."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = hf.Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    if bos is not None:
        pair = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=pair)
        assert tokenizer.encode("Q").tokens[0] == bos
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_turn_that_ends_with_the_end_token_and_a_line_feed_ends_the_text(tmp_path):
    tokenizer = load_encoding(saved(tmp_path, "<|im_start|>", "<|im_end|>"))
    (document,) = load_template("chatml").documents(CHAT)
    end = tokenizer.eot_token_id
    assert end == tokenizer.control_id("<|im_end|>")
    encoded = encode_documents(tokenizer, [document], end_token_id=end)
    text = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    assert tokenizer.decode(encoded.tokens[0]) == text
    stop = len(encoded.tokens[0]) - 1
    assert encoded.spans.values.tolist() == [stop - 2, stop]


@pytest.mark.parametrize(
    ("last", "added"),
    [
        (("\n", 0.0), False),
        ((" \n", 0.0), False),
        (("\n", 1.0), True),  # it is learnt, and what is learnt ends
        (("x", 0.0), True),
        (("", 0.0), False),
    ],
)
def test_only_blanks_that_are_no_target_may_follow_an_end(last, added):
    tokenizer = load_encoding("bytes")
    document = Document([Segment("a", 1.0), Segment("<|endoftext|>", 1.0, control=True), Segment(*last)])
    tokens = encode_documents(tokenizer, [document], end_token_id=256).tokens[0]
    assert tokens.tolist() == [97, 256, *last[0].encode(), *([256] if added else [])]


def test_a_document_that_ends_with_the_end_token_gets_no_second_one():
    documents = [
        Document([Segment("a", 1), Segment("<|endoftext|>", 0, control=True)]),
        Document([Segment("a", 1)]),
    ]
    encoded = encode_documents(load_encoding("bytes"), documents, end_token_id=256)
    assert [row.tolist() for row in encoded.tokens] == [[97, 256], [97, 256]]
    assert [row.tolist() for row in encoded.spans] == [[0, 1], [0, 2]]


@pytest.mark.parametrize("kind", ["built-in", "jinja"])
def test_a_beginning_is_written_once_where_template_and_tokenizer_both_have_one(tmp_path, kind):
    encoding = saved(tmp_path, *LLAMA, bos="<|begin_of_text|>")
    template = "llama3"
    if kind == "jinja":
        pytest.importorskip("jinja2")
        text = (
            "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
            "{{ m.content }}<|eot_id|>{% endfor %}"
            "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
        )
        template = ChatTemplate(text, bos_token="<|begin_of_text|>")
    store = prepare([CHAT], tmp_path / "s", encoding=encoding, template=template, workers=1)
    tokenizer = load_encoding(encoding)
    assert tokenizer.decode(store[0]) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|end_of_text|>"
    )
    assert store[0].tolist().count(tokenizer.control_id("<|begin_of_text|>")) == 1
    learnt = [tokenizer.decode(store[0][start:stop]) for start, stop in store.spans(0)]
    assert learnt == ["A<|eot_id|><|end_of_text|>"]


def test_control_tokens_are_known_in_one_place(tmp_path):
    plain = {name for name in CONTROL_NAMES if not re.fullmatch(CONTROL_LOOKS, name)}
    assert plain == {"[INST]", "[/INST]"}  # tokens of some vocabularies, text in others
    folder = saved(tmp_path, "<|odd|>", "</s>")
    content = json.loads((folder / "tokenizer.json").read_text())
    for token in content["added_tokens"]:
        token["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load_encoding(folder)
    assert tokenizer.control_names == {"<|odd|>", "</s>"}
    np.testing.assert_array_equal(control_ids(tokenizer), np.array([256, 257], np.uint32), strict=True)


def test_a_tokenizer_is_found_where_the_room_is():
    from fastcollate.tokenizers import Tokenizer

    assert isinstance(load_encoding("bytes"), Tokenizer)
    with pytest.raises(EncodingError, match="byte_lengths has shape"):
        Tokenizer.from_callable(list, vocab_size=2, byte_lengths=[1])
