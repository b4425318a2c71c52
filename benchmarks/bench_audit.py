"""Auditing a store: its columns alone, and every token of it, with faults that must be found."""

import tracemalloc

import numpy as np
import pytest
import tiktoken

from benchmarks.bench_scale import CHUNK
from benchmarks.harness.timing import seconds
from fastcollate import EncodingError, Ragged, StoreWriter, TokenStore, audit, load_encoding

FAULTY = 1000  # one record in so many has a fault
QUESTION, ANSWER = 120, 380  # tokens of a turn, on average
NAMES = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = tiktoken.Encoding(
    "chat bytes",
    pat_str="(?s:.)",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={name: 256 + i for i, name in enumerate(NAMES)},
)
CHAT_MARKS = [257, *b"user\n"], [257, *b"assistant\n"], [258, 10]
SPELT_MARKS = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"


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


def write_chats(path, tokens, encoding=CHAT, marks=CHAT_MARKS):
    """Conversations of one question and one answer in letters; two in `FAULTY` have a fault."""
    user, assistant, stop = marks
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
        before = len(question) + len(user) + len(stop) + len(assistant)
        rows.append(np.concatenate([user, question, stop, assistant, answer, stop if ended else [10] * len(stop)]))
        spans.append([before, before + len(answer) + len(stop) - 1])
    with StoreWriter(path, encoding=encoding, template="chatml") as writer:
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


def spelt():
    """GPT-2's encoding, whose marks are letters, and its tokens for them."""
    try:
        encoding = load_encoding("gpt2")
    except EncodingError:
        pytest.skip("the gpt2 vocabulary is not here")
    return encoding, [encoding.encode(mark).tolist() for mark in SPELT_MARKS]


@pytest.mark.parametrize("kind", ["tokens", "letters"])
def test_tokens(figure, rounds, tmp_path, sized, kind):
    encoding, marks = spelt() if kind == "letters" else (CHAT, CHAT_MARKS)
    store, faults = write_chats(tmp_path / "store", sized(1 << 27, 1 << 24, 1 << 14), encoding, marks)
    if kind == "letters":
        faults["spelt_marks"] = list(range(len(store)))
    assert found(audit(store, encoding=encoding)) == faults
    size = store.num_tokens * np.dtype(store.manifest.dtype).itemsize
    took = [seconds(lambda: audit(store, encoding=encoding)) for _ in range(rounds)]
    case = "" if kind == "tokens" else ", marks in letters"
    figure(f"reading all tokens of conversations{case}", [size / 1e6 / each for each in took], "MB/s")
    tracemalloc.start()
    audit(TokenStore(store.path), encoding=encoding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    figure(f"memory that reading all tokens takes{case}", peak / 1e6, "MB")
    figure(f"the tokens that were read{case}", size / 1e6, "MB")
