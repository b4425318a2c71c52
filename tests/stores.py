"""Small stores for tests: record `i` holds its own number in every token, so rows can be told apart."""

from pathlib import Path

import numpy as np

from fastcollate import Ragged, StoreWriter, TokenStore


def write_store(path, lengths, *, records_per_shard=262_144, layout="arrow", spans=False, weights=()):
    """A store whose record `i` has `lengths[i]` tokens `i % 251`; supervised from its middle on if `spans`.

    The spans weigh the `weights` in turn, where there are any.
    """
    lengths = np.asarray(lengths, np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.repeat(np.arange(len(lengths)) % 251, lengths).astype(np.uint16)
    pairs = Ragged.from_rows([[n // 2, n] for n in lengths.tolist()]) if spans else None
    with StoreWriter(path, encoding="bytes", records_per_shard=records_per_shard, layout=layout) as writer:
        columns = {"weights": np.resize(weights, len(lengths)).astype(np.float32)} if len(weights) else None
        writer.append(Ragged(values, offsets), pairs, columns=columns)
    return TokenStore(path)


def lognormal_lengths(count, *, mean=3.0, sigma=0.8, low=1, high=200, seed=0):
    """int64[count]: a long-tailed distribution of record lengths."""
    drawn = np.random.default_rng(seed).lognormal(mean, sigma, count)
    return np.clip(drawn, low, high).astype(np.int64)


def gathered(store, indices, columns=()):
    """The records `indices` of a store as a batch, with the columns asked for."""
    return store.at_epoch(0, 0).gather(np.array(indices, np.int64), columns)


def contents(path):
    """The bytes of each file of a directory, by name."""
    return {file.name: file.read_bytes() for file in Path(path).iterdir()}
