"""Auditing a store: its columns alone, and every token of it, with faults that must be found."""

import tracemalloc

import numpy as np
import pytest
import tiktoken

from benchmarks.bench_scale import CHUNK
from benchmarks.harness.timing import seconds
from fastcollate import Ragged, StoreWriter, TokenStore, audit

FAULTY = 1000  # one record in so many has a fault
QUESTION, ANSWER = 120, 380  # tokens of a turn, on average
NAMES = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = tiktoken.Encoding(
    "chat bytes",
    pat_str="(?s:.)",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={name: 256 + i for i, name in enumerate(NAMES)},
)
USER, ASSISTANT, STOP = [257, *b"user\n"], [257, *b"assistant\n"], [258, 10]


def write_tiny(path, records):
    """Records of 4 to 12 tokens, of which the second half are targets, but for one in `FAULTY`."""
    with StoreWriter(path, encoding="bytes") as writer:
        for begin in range(0, records, CHUNK):
            count = min(CHUNK, records - begin)
            lengths = np.random.default_rng([0, begin]).integers(4, 13, count)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            pairs = np.stack([lengths // 2, lengths], axis=1).astype(np.uint32)
            learnt = (np.arange(begin, begin + count) % FAULTY > 0).astype(np.int64)
            spans = Ragged(pairs[learnt > 0].reshape(-1), np.concatenate([[0], np.cumsum(2 * learnt)]))
            writer.append(Ragged((np.arange(offsets[-1]) % 251).astype(np.uint16), offsets), spans)
    return TokenStore(path)


def write_chats(path, tokens):
    """Conversations of one question and one answer in letters; two in `FAULTY` have a fault."""
    drawn = np.random.default_rng(0)
    letters = drawn.integers(97, 123, 1 << 16)
    rows, spans, missing, twice = [], [], [], []
    for number in range(max(2 * FAULTY // 100, tokens // (QUESTION + ANSWER))):
        asked, answered = drawn.integers(0, 1 << 15, 2)
        question, answer = (
            letters[at : at + int(drawn.exponential(mean)) + 8]
            for at, mean in ((asked, QUESTION), (answered, ANSWER))
        )
        if number % FAULTY == 1:
            rows.append(rows[-1])
            spans.append(spans[-1])
            twice.append(number)
            continue
        ended = number % FAULTY != 7
        missing += [] if ended else [number]
        before = len(question) + len(USER) + len(STOP) + len(ASSISTANT)
        rows.append(np.concatenate([USER, question, STOP, ASSISTANT, answer, STOP if ended else [10, 10]]))
        spans.append([before, before + len(answer) + 1])
    with StoreWriter(path, encoding=CHAT) as writer:
        writer.append(Ragged.from_rows(rows, np.uint16), Ragged.from_rows(spans, np.uint32))
    return TokenStore(path), {"no_end": missing, "open_turn": missing, "duplicate": twice}


def found(audited):
    return {finding.kind: finding.records.tolist() for finding in audited.findings}


@pytest.mark.parametrize("exponent", [6, 7])
def test_columns(figure, rounds, tmp_path, power_of_ten, exponent):
    records = power_of_ten(exponent)
    path = write_tiny(tmp_path / "store", records).path
    bare = list(range(0, records, FAULTY))
    assert found(audit(path, quick=True, length=12)) == {"no_target": bare}
    for length in (None, 8):
        stores = [TokenStore(path) for _ in range(rounds)]  # each knows nothing of its columns yet
        took = [
            seconds(lambda store=store, length=length: audit(store, quick=True, length=length)) for store in stores
        ]
        case = f"the columns of 10^{exponent} records" + (", and what a length cuts" if length else "")
        figure(case, took, "s")


def test_tokens(figure, rounds, tmp_path, sized):
    store, faults = write_chats(tmp_path / "store", sized(1 << 27, 1 << 24, 1 << 14))
    assert found(audit(store, encoding=CHAT)) == faults
    size = store.num_tokens * np.dtype(store.manifest.dtype).itemsize
    took = [seconds(lambda: audit(store, encoding=CHAT)) for _ in range(rounds)]
    figure("reading all tokens of conversations", [size / 1e6 / each for each in took], "MB/s")
    tracemalloc.start()
    audit(TokenStore(store.path), encoding=CHAT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    figure("memory that reading all tokens takes", peak / 1e6, "MB")
    figure("the tokens that were read", size / 1e6, "MB")
