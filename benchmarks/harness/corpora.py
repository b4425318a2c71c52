"""Corpora with the length distributions that the benchmarks name: functions of (kind, records, seed), or real.

Lengths and tokens are drawn chunk by chunk, each chunk by generators of its own, so a corpus of any size takes
little memory, and the first records of a larger one are the records of a smaller one. Another version of NumPy may
draw other numbers: it promises its streams to no more than one.
"""

from pathlib import Path

import numpy as np

from fastcollate import EncodingError, PromptTemplate, Ragged, StoreWriter, TokenStore, prepare
from fastcollate.bench.made_up import make_corpus

# Lengths are clip(lognormal(mu, sigma), 8, longest): (mu, sigma, longest).
DISTRIBUTIONS = {
    "short": (4.6, 0.6, 1024),
    "long-tailed": (5.5, 1.2, 8192),
    "very-long": (8.0, 1.0, 65_536),
}
# Records of each corpus in a measurement, a quick one, and a test: tens of millions of tokens at most.
RECORDS = {
    "short": (200_000, 20_000, 2_000),
    "long-tailed": (200_000, 20_000, 2_000),
    "very-long": (10_000, 1_000, 100),
}
DATA = Path(__file__).parents[3] / "shared" / "data"  # real records, where they are
REAL = {"gsm8k": ("gsm8k_train.jsonl", {"instruction": "question", "output": "answer"})}
_CHUNK_TOKENS = 1 << 25  # a chunk has this many tokens at most: 64 MB
_SHARD_TOKENS = 1 << 31  # and a shard, which the writer holds in memory; a hundredth of it is usual


def here():
    """The real corpora whose records are on this machine."""
    return [kind for kind, (name, _) in REAL.items() if (DATA / name).exists()]


def lengths_of(kind, records, seed=0):
    """int64[records]: the lengths of a corpus."""
    sizes = _chunk_sizes(kind, records)
    return np.concatenate([_lengths(kind, size, seed, number) for number, size in enumerate(sizes)])


def chunks_of(kind, records, seed=0):
    """The records of a corpus, a chunk at a time; tokens are random bytes, for no kernel looks at their values."""
    for number, size in enumerate(_chunk_sizes(kind, records)):
        offsets = np.concatenate([[0], np.cumsum(_lengths(kind, size, seed, number))])
        drawn = np.random.default_rng([seed, number, 1]).bytes(int(offsets[-1]))
        yield Ragged(np.frombuffer(drawn, np.uint8).astype(np.uint16), offsets)


def make_store(path, kind, records, seed=0, *, layout="arrow", progress=None):
    """A corpus as a store; `progress` is called with the records of each chunk written."""
    longest = DISTRIBUTIONS[kind][2]
    per_shard = min(262_144, _SHARD_TOKENS // longest)
    with StoreWriter(path, encoding="bytes", layout=layout, records_per_shard=per_shard) as writer:
        for chunk in chunks_of(kind, records, seed):
            writer.append(chunk)
            if progress is not None:
                progress(len(chunk))
    return TokenStore(path)


def real_store(path, kind):
    """A corpus with the lengths of real records in GPT-2's tokens (in bytes where there is no vocabulary).

    The tokens themselves are random bytes, as in the other corpora: so that no token is the padding.
    """
    path.mkdir(exist_ok=True)
    name, names = REAL[kind]
    try:
        lengths = prepare(DATA / name, path / "real", encoding="gpt2", fields=names).lengths
    except EncodingError:
        lengths = prepare(DATA / name, path / "real", encoding="bytes", fields=names).lengths
    values = np.random.default_rng(0).integers(0, 256, lengths.sum(), np.uint16)
    with StoreWriter(path / "store", encoding="bytes") as writer:
        writer.append(Ragged(values, np.concatenate([[0], np.cumsum(lengths)])))
    return TokenStore(path / "store")


def put_store(home, kind, *, quick):
    """`home / "store"`, a corpus of any kind; of real records all, also where it should be quick."""
    if kind in REAL:
        real_store(home, kind)
    else:
        make_store(home / "store", kind, RECORDS[kind][int(quick)])


def bytes_on_disk(kind, records, seed=0):
    """About how large a corpus is as a store, from the lengths of its first records."""
    tokens = lengths_of(kind, min(records, 4096), seed).mean()
    return int(records * (2 * tokens + 3 * 8))  # uint16 tokens, two offsets, a source row


def instructions(count, seed=0):
    """(records, texts): instruction records, and what the `alpaca` template makes of each."""
    template = PromptTemplate.named("alpaca")
    records = make_corpus(count, seed=seed)
    documents = (document for record in records for document in template.documents(record))
    return records, ["".join(segment.text for segment in document.segments) for document in documents]


def new_texts(size, seed=0):
    """Texts of about `size` bytes in all, no two alike, whose words never stop being new ones.

    Common words come by Zipf's law; three in a hundred are random letters, so that a cache of words fills up.
    """
    numbers = np.random.default_rng([seed, 3])
    common = sorted({word for record in make_corpus(2_000) for text in record.values() for word in text.split()})
    texts, made = [], 0
    while made < size:
        count = int(np.clip(numbers.lognormal(5.5, 1.0), 20, 4000))
        words = [common[rank % len(common)] for rank in numbers.zipf(1.2, count).tolist()]
        for i in np.flatnonzero(numbers.random(count) < 0.03).tolist():
            words[i] = bytes(numbers.integers(97, 123, int(numbers.integers(4, 12))).tolist()).decode()
        texts.append(" ".join(words))
        made += len(texts[-1])
    return texts


def _chunk_sizes(kind, records):
    """Records of each chunk; how many there are in all has no say in what the first of them hold."""
    chunk = _CHUNK_TOKENS // DISTRIBUTIONS[kind][2]
    return [min(chunk, records - begin) for begin in range(0, records, chunk)]


def _lengths(kind, records, seed, number):
    mu, sigma, longest = DISTRIBUTIONS[kind]
    drawn = np.random.default_rng([seed, number, 0]).lognormal(mu, sigma, records)
    return np.clip(drawn, 8, longest).astype(np.int64)
