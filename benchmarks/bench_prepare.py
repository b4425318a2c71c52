"""Preparing instruction data, beside its physical limit: tiktoken encoding the same texts, and nothing else."""

from itertools import count

import pytest

from benchmarks.harness.corpora import instructions
from fastcollate import EncodingError, load_encoding, prepare


def encoding_or_skip(name):
    try:
        return load_encoding(name).encoding
    except EncodingError:
        pytest.skip(f"the {name} vocabulary is not here")


@pytest.mark.parametrize("name", ["bytes", "gpt2"])
def test_preparing_costs_little_more_than_encoding(race, tmp_path, sized, name):
    encoding = encoding_or_skip(name)
    records, texts = instructions(sized(10_000, 4_000, 200))
    number = count()

    def encode():
        return [encoding.encode_ordinary(text) for text in texts]

    def ours():
        return prepare(records, tmp_path / str(next(number)), encoding=name, workers=1)

    store = ours()
    assert [row.tolist() for row in store] == [[*ids, encoding.eot_token] for ids in encode()]
    assert all(encoding.decode(row[:-1].tolist()) == text for row, text in zip(store, texts, strict=True))
    title = f"preparing instructions, tiktoken alone: {name}"
    race(title, store.num_tokens, encode, ours, limit="encoding the same texts with tiktoken")
