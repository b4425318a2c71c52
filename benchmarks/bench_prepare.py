"""Preparing text, beside tiktoken encoding the same texts and nothing else, and beside other people's ways.

One thread each. What is prepared lies in a file of JSON Lines; reading it, spans, checksums and writing count.
"""

import json
import sys
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import count

import numpy as np
import pytest

from benchmarks.harness.corpora import instructions, new_texts
from benchmarks.harness.tokenising import by_datasets, by_datatrove, gpt2_json
from fastcollate import EncodingError, load_encoding, prepare
from fastcollate.sources.formats import json_values
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer

EXTRA = ("gigatoken", "orjson")
HAS_EXTRA = all(map(find_spec, EXTRA))
KINDS = ("instructions", "text of ever new words")
ALL, SOME, FIRST, LITTLE = (
    (40, 3, 0.1),
    (10, 1, 0.1),
    (5, 5, 0.1),
    (1, 1, 0.1),
)  # megabytes: full, quick, as a test
PEERS = {"datasets.map": (by_datasets, "datasets", "transformers"), "datatrove": (by_datatrove, "datatrove")}

needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="the extra fast is not installed")


def encoding_or_skip(name):
    try:
        return load_encoding(name).encoding
    except EncodingError:
        pytest.skip(f"the {name} vocabulary is not here")


@pytest.fixture(scope="module")
def made(tmp_path_factory, sized):
    """`made(kind, sizes, seed)`: (file, template, texts), made once."""

    @cache
    def make(kind, megabytes, seed=0):
        size = int(sized(*megabytes) * 1e6)
        if kind == "instructions":
            records, texts = instructions(size // 400, seed)
        else:
            texts = new_texts(size, seed)
            records = [{"text": text} for text in texts]
        path = tmp_path_factory.mktemp("source") / "records.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path, "alpaca" if kind == "instructions" else "text", texts

    return make


@pytest.fixture
def without_extra(monkeypatch):
    """Neither gigatoken nor orjson, as where the extra is not installed."""
    for name in EXTRA:
        monkeypatch.setitem(sys.modules, name, None)
    json_values._parser.cache_clear()
    yield
    monkeypatch.undo()
    json_values._parser.cache_clear()


@pytest.fixture
def prepared(tmp_path):
    """`prepared(path, template, tokenizer)`: a new store, made by one process."""
    number = count()

    def run(path, template, tokenizer):
        return prepare(path, tmp_path / f"{next(number)}", encoding=tokenizer, template=template, workers=1)

    return run


def assert_equal(store, texts, encoding):
    for row, text in zip(store, texts, strict=True):
        assert row.tolist() == [*encoding.encode_ordinary(text), encoding.eot_token]


def contest(case, race, made, prepared, encoding):
    """Race `prepare` of a file against tiktoken over the texts in it."""
    path, template, texts = made
    tokenizer = BpeTokenizer(encoding)

    def encode():
        for text in texts:
            encoding.encode_ordinary(text)

    def ours():
        return prepared(path, template, tokenizer)

    store = ours()
    assert_equal(store, texts, encoding)
    facts = {"limit": "encoding the same texts with tiktoken", "megabytes": sum(map(len, texts)) / 1e6}
    race(f"{case}, tiktoken alone: {encoding.name}", store.num_tokens, encode, ours, **facts)


@needs_extra
@pytest.mark.parametrize("kind", KINDS)
def test_preparing_costs_a_part_of_encoding(race, made, prepared, kind):
    contest(f"preparing {kind}", race, made(kind, ALL), prepared, encoding_or_skip("gpt2"))


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("name", ["bytes", "gpt2"])
def test_preparing_without_the_extra_costs_what_encoding_costs(race, made, prepared, name):
    source = made("instructions", SOME)
    contest("preparing instructions without the extra", race, source, prepared, encoding_or_skip(name))


@needs_extra
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_megabytes_are_quick_too(race, made, prepared, rounds, kind):
    """A process that has prepared something else prepares 5 MB that it has not seen, others in each round."""
    encoding = encoding_or_skip("gpt2")
    tokenizer = BpeTokenizer(encoding)
    prepared(*made("instructions", LITTLE, seed=99)[:2], tokenizer)
    unseen = [made(kind, FIRST, seed=seed) for seed in range(1, rounds + 4)]
    mine, theirs = iter(unseen), iter(unseen)

    def encode():
        for text in next(theirs)[2]:
            encoding.encode_ordinary(text)

    def ours():
        return prepared(*next(mine)[:2], tokenizer)

    store = ours()
    assert_equal(store, next(theirs)[2], encoding)
    race(f"preparing the first 5 MB of {kind}, tiktoken alone: gpt2", store.num_tokens, encode, ours)


@pytest.mark.parametrize("peer", PEERS)
def test_other_ways_to_tokenise_a_file_take_many_times_as_long(race, tmp_path, made, prepared, peer):
    run, *needs = PEERS[peer]
    for name in ("tokenizers.models", *needs):
        pytest.importorskip(name, reason=f"{name} is not installed")
    encoding = encoding_or_skip("gpt2")
    _, _, texts = made("instructions", SOME)
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer, number = gpt2_json(encoding, tmp_path / "tokenizer.json"), count()

    def theirs():
        home = tmp_path / f"theirs-{next(number)}"
        home.mkdir()
        return run(source, home, tokenizer, encoding.eot_token)

    def ours():
        return prepared(source, "text", "gpt2")

    store = ours()
    for mine, other in zip(store, theirs()(), strict=True):
        np.testing.assert_array_equal(mine, np.asarray(other))
    race(f"preparing a file of texts, {peer} {version(needs[0])}: gpt2", store.num_tokens, theirs, ours)
