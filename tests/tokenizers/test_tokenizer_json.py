"""A tokenizer.json of any kind gives the ids that tokenizers gives, and spans from what it says of places."""

import json
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import EncodingError
from fastcollate.templates.segments import Document, Segment
from fastcollate.tokenizers.documents import encode_documents
from fastcollate.tokenizers.load import load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer, mend

pytest.importorskip("tokenizers.models")  # the folder of these tests has the same name
import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["the answer is 42, said the café owner", "naïve 漢字 answers are the best answers", "<x> it's </x>"] * 20


def trained(model, trainer, **parts):
    tokenizer = hf.Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=alphabet,
        ),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
        post_processor=processors.ByteLevel(trim_offsets=True),
    )
    tokenizer.add_tokens(["<think>"])
    return tokenizer


def with_normalizer():
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def sentencepiece():
    tokenizer = trained(
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        trainers.BpeTrainer(
            vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *[f"<0x{i:02X}>" for i in range(256)]]
        ),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram():
    return trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=80, special_tokens=["<unk>", "<eos>"], unk_token="<unk>"),
        normalizer=normalizers.NFKC(),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
    )


def wordpiece():
    tokenizer = trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]", "[CLS]", "[SEP]"]),
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


KINDS = {
    "byte_level": byte_level,
    "with_normalizer": with_normalizer,
    "sentencepiece": sentencepiece,
    "unigram": unigram,
    "wordpiece": wordpiece,
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Each kind as tokenizers made it, and as it was loaded from its directory."""
    made = {}
    for name, make in KINDS.items():
        folder = tmp_path_factory.mktemp(name, numbered=False)
        theirs = make()
        theirs.save(str(folder / "tokenizer.json"))
        made[name] = theirs, load_encoding(folder)
    return made


NAMES = st.sampled_from(["<|endoftext|>", "<|im_start|>", "<think>", "</s>", "<s>", "<unk>", "[SEP]", "<eos>"])
TEXTS = st.lists(
    NAMES | st.sampled_from(["the ", "answer", "é", "e\u0301", "ﬁ", "漢", "😀", "  ", "\n"]) | st.text()
).map("".join)


def ordinary_ids(theirs, text):
    theirs.encode_special_tokens = True
    return theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXTS, max_size=3))
def test_ids_are_those_of_tokenizers_for_ordinary_text(kinds, kind, texts):
    theirs, ours = kinds[kind]
    batch = ours.encode_batch(texts)
    assert batch.values.dtype == np.uint32
    assert [row.tolist() for row in batch] == [ordinary_ids(theirs, text) for text in texts]
    tokens, places = ours.encode_with_offsets(texts)
    assert tokens == batch
    assert places.shape == (len(batch.values), 2)
    assert all(ours.encode(text).tolist() == row.tolist() for text, row in zip(texts, batch, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.tuples(TEXTS, st.sampled_from([0.0, 0.5, 1.0])), max_size=4))
def test_targets_are_what_a_slow_way_finds(kinds, kind, texts):
    _, ours = kinds[kind]
    document = Document([Segment(text, weight) for text, weight in texts])
    encoded = encode_documents(ours, [document])
    text = "".join(text for text, _ in texts)
    of_characters = [weight for text, weight in texts for _ in text]
    weights, byte_at = [], 0
    lengths = ours.byte_lengths()
    _, places = ours.encode_with_offsets([text])
    of_bytes = [weight for letter, weight in zip(text, of_characters, strict=True) for _ in letter.encode()]
    for token, (start, stop) in zip(ours.encode(text).tolist(), places.tolist(), strict=True):
        if lengths is not None:
            held = of_bytes[byte_at : byte_at + lengths[token]]
            byte_at += lengths[token]
        else:
            held = of_characters[start:stop] or of_characters[start : start + 1] or of_characters[-1:]
        weights.append(max(held))
    painted = np.zeros(len(weights))
    found = encoded.weights if encoded.weights is not None else np.ones(len(encoded.spans.values) // 2)
    for (start, stop), weight in zip(encoded.spans.values.reshape(-1, 2).tolist(), found, strict=True):
        painted[start:stop] = weight
    assert painted.tolist() == weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["a", " ", "\n", "ab", "漢"])
def test_a_long_run_takes_linear_time(kinds, kind, unit):
    begun = time.process_time()
    assert len(kinds[kind][1].encode(unit * 100_000 + "a"))
    assert time.process_time() - begun < 5  # what is quadratic takes minutes


def test_only_plain_bytes_have_lengths(kinds):
    assert [name for name, (_, ours) in kinds.items() if ours.byte_lengths() is not None] == ["byte_level"]
    _, ours = kinds["byte_level"]
    text = "naïve 漢 <think> it's"
    assert ours.byte_lengths()[ours.encode(text)].sum() == len(text.encode())
    assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    ("kind", "end"),
    [("byte_level", "<|endoftext|>"), ("sentencepiece", "</s>"), ("unigram", "<eos>"), ("wordpiece", None)],
)
def test_the_end_is_found_among_the_added_tokens(kinds, kind, end):
    theirs, ours = kinds[kind]
    assert ours.eot_token_id == (None if end is None else theirs.token_to_id(end))
    assert ours.vocab_size == theirs.get_vocab_size()
    assert isinstance(ours, Tokenizer)
    assert (ours.name, repr(ours)) == (kind, f"JsonTokenizer('{kind}', {ours.vocab_size} tokens)")


@pytest.mark.parametrize("eos", ["[SEP]", {"content": "[SEP]"}])
def test_the_end_may_be_named_in_the_file_beside(tmp_path, eos):
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    assert load_encoding(tmp_path).eot_token_id == 2
    assert load_encoding(str(tmp_path / "tokenizer.json")).eot_token_id == 2


@pytest.mark.parametrize("config", ["{", "[]", '{"eos_token": 3}', '{"eos_token": "<none>"}'])
def test_a_file_beside_that_says_nothing_is_passed_over(tmp_path, config):
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(config)
    assert load_encoding(tmp_path).eot_token_id is None


def test_control_tokens_have_names_and_spelling_them_is_told(kinds):
    theirs, ours = kinds["byte_level"]
    assert ours.control_id("<|im_start|>") == theirs.token_to_id("<|im_start|>")
    assert (ours.control_id("the"), ours.control_id("<think>")) == (None, theirs.token_to_id("<think>"))
    documents = [
        Document(
            [Segment("<|im_start|>", control=True), Segment("hi", 1), Segment("<|im_end|>", 1, control=True)]
        ),
        Document([Segment("the <|im_start|>")]),
        Document([Segment("the <think>")]),
    ]
    encoded = encode_documents(ours, documents)
    assert encoded.control_spelt.tolist() == [False, True, False]
    assert encoded.tokens[0][[0, -1]].tolist() == [ours.control_id("<|im_start|>"), ours.control_id("<|im_end|>")]
    assert ours.control_id("<|im_start|>") not in encoded.tokens[1]


def test_a_control_token_that_is_not_marked_as_special_is_not_spelt_either(tmp_path):
    tokenizer = byte_level()
    tokenizer.add_tokens(["<|assistant|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = load_encoding(tmp_path)
    assert ours.control_id("<|assistant|>") == tokenizer.token_to_id("<|assistant|>")
    assert ours.control_id("<|assistant|>") not in ours.encode("a<|assistant|>b")


def test_it_travels_whole_and_its_hash_is_of_the_content(kinds, tmp_path):
    _, ours = kinds["sentencepiece"]
    copy = pickle.loads(pickle.dumps(ours))
    assert (copy.sha256, copy.name, copy.eot_token_id) == (ours.sha256, ours.name, ours.eot_token_id)
    assert copy.encode("the answer").tolist() == ours.encode("the answer").tolist()
    other = json.loads(ours._made_of[0])
    (tmp_path / "tokenizer.json").write_text(json.dumps(dict(reversed(other.items())), indent=8))
    assert load_encoding(tmp_path).sha256 == ours.sha256
    assert ours.sha256 != kinds["unigram"][1].sha256


def test_halves_of_characters_are_mended(kinds):
    for _, ours in kinds.values():
        assert ours.encode("a\ud83d\ude00\ud83d").tolist() == ours.encode(mend("a\ud83d\ude00\ud83d")).tolist()


@pytest.mark.parametrize("bad", [-1, 10**6, 0.5])
def test_decoding_an_id_that_is_no_token_names_it(kinds, bad):
    _, ours = kinds["unigram"]
    with pytest.raises(EncodingError, match=rf'{bad} is no token of encoding "unigram": ids go from 0 to \d+;'):
        ours.decode([bad])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", '" is not JSON (Expecting'),
        (b"[" * 100_000, '" is not JSON (maximum recursion'),
        (b"[]", '" has no "model": give'),
        (b'{"model": {"type": "None"}}', '" is not a tokenizer that tokenizers takes ('),
        (b"\xff", '" cannot be read (it is not UTF-8): give a tokenizer.json of Hugging Face'),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(EncodingError) as caught:
        load_encoding(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    import sys

    wordpiece().save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EncodingError, match=r"is read by tokenizers: install fastcollate\[hf\]"):
        load_encoding(tmp_path)
