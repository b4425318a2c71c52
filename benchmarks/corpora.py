"""Stores of synthetic records with the length distributions that the benchmarks name."""

import numpy as np

from fastcollate import Ragged, StoreWriter, TokenStore

DISTRIBUTIONS = {"short": (4.6, 0.6, 1024), "long-tailed": (5.5, 1.2, 8192)}


def lengths_of(name, records, seed=0):
    """int64[records]: clip(lognormal(mu, sigma), 8, longest)."""
    mu, sigma, longest = DISTRIBUTIONS[name]
    drawn = np.random.default_rng(seed).lognormal(mu, sigma, records)
    return np.clip(drawn, 8, longest).astype(np.int64)


def make_store(path, name, records, seed=0):
    """A store of random bytes as tokens: their values matter to no kernel."""
    offsets = np.concatenate([[0], np.cumsum(lengths_of(name, records, seed))])
    values = np.random.default_rng(seed).integers(0, 256, offsets[-1], np.uint16)
    with StoreWriter(path, encoding="bytes") as writer:
        writer.append(Ragged(values, offsets))
    return TokenStore(path)
