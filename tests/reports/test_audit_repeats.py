"""Records that are there twice are found by parts of hashes, and compared."""

import tracemalloc

import numpy as np
from oracles import repeated_records
from planted import CHAT, found, write

from fastcollate import Ragged, StoreWriter, TokenStore, audit


def test_records_of_one_hash_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("fastcollate.reports.audits.repeats._FACTOR", 1)  # the hash is the sum of the tokens
    rows = [[1, 2, 3], [3, 2, 1], [2, 2, 2], [3, 2, 1], [2, 2, 2], [6], [2, 2, 2], [1, 2, 3], [1, 5], [6]]
    records = [[(token, True) for token in tokens] for tokens in rows]
    for per_shard in (1, 3, 100):
        store = write(tmp_path / f"{per_shard}", records, per_shard=per_shard)
        assert found(audit(store, encoding=CHAT))["duplicate"] == repeated_records(records) == [3, 4, 6, 7, 9]


def test_records_longer_than_a_stretch_are_hashed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("fastcollate.reports.audits.stretches.TOKENS", 7)
    monkeypatch.setattr("fastcollate.reports.audits.repeats.TOKENS", 7)
    drawn = np.random.default_rng(0)
    long = drawn.integers(0, 256, 40)
    other = np.append(long[:-1], (long[-1] + 1) % 256)
    rows = [long, [1, 2], other, [1, 2, 3], long, long[:14], [3] * 7, long[:14], other[:39], long[:39], [3] * 8]
    records = [[(int(token), True) for token in tokens] for tokens in rows]
    for per_shard in (1, 3, 100):
        store = write(tmp_path / f"{per_shard}", records, per_shard=per_shard)
        assert found(audit(store, encoding=CHAT))["duplicate"] == repeated_records(records) == [4, 7, 9]


def test_one_long_record_takes_little_memory(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 256, 4_000_000).astype(np.uint16)
    spans = Ragged.from_rows([[0, len(tokens)]] * 2, np.uint32)
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([tokens, tokens]), spans)
    store = TokenStore(tmp_path / "store")
    audit(store)  # what is made once
    tracemalloc.start()
    assert found(audit(TokenStore(store.path)))["duplicate"] == [1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(tokens)  # bytes: less than a number for each token
