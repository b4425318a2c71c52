"""Stores with faults at known records, of chats whose control tokens are tokens."""

import numpy as np
import tiktoken

from fastcollate import Ragged, StoreWriter, TokenStore
from fastcollate.templates.built_in import CHAT_FORMATS


def encoding_with(names):
    """Bytes, and control tokens of these names."""
    special = {name: 256 + i for i, name in enumerate(names)}
    ranks = {bytes([byte]): byte for byte in range(256)}
    return tiktoken.Encoding("chat bytes", pat_str=r"(?s:.)", mergeable_ranks=ranks, special_tokens=special)


NAMES = ["<|endoftext|>", *dict.fromkeys(name for chat in CHAT_FORMATS.values() for name in chat["control"])]
CHAT = encoding_with(NAMES)
ID = dict(zip(NAMES, range(256, 256 + len(NAMES)), strict=True))
END, START, STOP = ID["<|endoftext|>"], ID["<|im_start|>"], ID["<|im_end|>"]


def turn(role, text, *, learnt=False, header=False, closed=True, end_learnt=True):
    """(token, whether it is a target) of a turn in ChatML; `text` may hold names of control tokens as ids."""
    body = list(text.encode()) if isinstance(text, str) else text
    made = [(token, header) for token in (START, *f"{role}".encode())] + [(10, False)]
    made += [(token, learnt) for token in body]
    return made + ([(STOP, learnt and end_learnt), (10, False)] if closed else [])


def row(*turns):
    return [pair for each in turns for pair in each]


def asked(number):
    """A question that no other record asks."""
    return turn("user", f"question {number}")


def spans_of(record):
    """Flat (start, stop) pairs of the targets of a record of (token, target) pairs."""
    mask = np.array([False, *(target for _, target in record), False])
    return np.flatnonzero(mask[1:] != mask[:-1])


def write(path, records, *, encoding=CHAT, layout="arrow", per_shard=4, spans=True, template="chatml", **columns):
    """A store of records of (token, target) pairs."""
    writer = StoreWriter(path, encoding=encoding, layout=layout, records_per_shard=per_shard, template=template)
    with writer:
        tokens = Ragged.from_rows([[token for token, _ in record] for record in records])
        pairs = Ragged.from_rows([spans_of(record) for record in records], np.uint32) if spans else None
        writer.append(tokens, pairs, columns=columns)
    return TokenStore(path)


def found(audited):
    """The records of each kind of finding."""
    return {finding.kind: finding.records.tolist() for finding in audited.findings}


def honest(number):
    """A record without a fault."""
    return row(turn("system", "be terse"), asked(number), turn("assistant", f"answer {number}", learnt=True))


def faulty():
    """Records, and which of them have which fault."""
    doubled = [(ID["<|begin_of_text|>"], False)] * 2
    spelt = turn("assistant", "a <|endoftext|> b", learnt=True)
    thought = [ID["<think>"], 10, 10, ID["</think>"], *b"\n\n7"]
    plain = turn("assistant", "so <think>\n</think> 7", learnt=True)
    cut = turn("assistant", "and so", learnt=True, closed=False)
    records = [
        honest(0),
        row(asked(1), turn("assistant", "nobody learns me")),
        row(asked(2), turn("assistant", "", learnt=True)),
        row(asked(3), turn("assistant", "no end", learnt=True, end_learnt=False)),
        row(asked(4), turn("assistant", "yes", learnt=True, end_learnt=False), asked(4), honest(4)),
        row(asked(5), cut),
        row(asked(6), turn("assistant", "yes", learnt=True), turn("assistant", "", closed=False)),
        row(asked(7), turn("assistant", thought, learnt=True)),
        row(asked(8), plain),
        row(doubled, honest(9)),
        row(asked(10), spelt),
        row(asked(11), turn("assistant", "speaks for others", learnt=True, header=True)),
        honest(0),
        row(
            asked(13),
            turn("assistant", [*b"x", ID["<think>"], *b"long thought, long", ID["</think>"]], learnt=True),
        ),
        row(asked(6), turn("assistant", "yes", learnt=True), turn("assistant", "", closed=False)),
        honest(15),
    ]
    found = {
        "no_target": [1],
        "end_only": [2],
        "no_end": [3, 4, 5],
        "open_turn": [5, 6, 14],
        "empty_reasoning": [7, 8],
        "doubled_bos": [9],
        "control_text": [10],
        "learnt_role": [11],
        "duplicate": [12, 14],
    }
    # the letters of <think> are control text too: the vocabulary has it as a token
    return records, found | {"control_text": [8, 10]}
