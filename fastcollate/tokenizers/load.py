"""From what a caller names (a name, a file, a tiktoken encoding, a tokenizer) to a tokenizer."""

from __future__ import annotations

import base64
import binascii
from os import PathLike, fspath
from pathlib import Path

import tiktoken

from fastcollate.errors import EncodingError
from fastcollate.tokenizers.byte_pairs.bpe import BpeTokenizer
from fastcollate.tokenizers.byte_pairs.patterns import PATTERNS
from fastcollate.tokenizers.byte_pairs.published import load_bpe, unknown_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer, is_panic
from fastcollate.tokenizers.tokenizer_json import load_json

__all__ = ["AnyEncoding", "load_encoding"]

AnyEncoding = str | PathLike[str] | tiktoken.Encoding | Tokenizer


def load_encoding(encoding: AnyEncoding, *, pattern: str | None = None) -> Tokenizer:
    """Return the tokenizer that `encoding` names.

    Args:
        encoding: A name (`"bytes"`, which is built in and needs nothing, or any name tiktoken knows), the path of
            a Hugging Face `tokenizer.json`, of a directory that holds one, or of a `.tiktoken` file, a
            `tiktoken.Encoding`, or a `Tokenizer` (of `fastcollate.tokenizers`; its `from_callable` makes one of
            any function), which is returned as it is. `"gpt2"` is read from tiktoken's
            cache, else from the package behind the extra `fastcollate[gpt2]`, else from the network.
        pattern: How a text is parted before the ranks of a `.tiktoken` file merge its bytes: the name of an
            encoding whose pattern it is, such as `"cl100k_base"`, or a regular expression. Such a tokenizer has no
            special tokens. Nothing else has a pattern of the caller's.

    Raises:
        EncodingError: The name is unknown, its vocabulary cannot be reached, or the file is no tokenizer.

    >>> tokenizer = load_encoding("bytes")
    >>> tokenizer.encode("hi"), tokenizer.vocab_size, tokenizer.eot_token_id
    (array([104, 105]), 257, 256)
    """
    if isinstance(encoding, str | PathLike) and (path := _path(encoding)) is not None:
        if path.suffix == ".tiktoken":
            return _load_ranks(path, pattern)
        _refuse_pattern(pattern)
        return load_json(path, path.parent.resolve().name if path.name == "tokenizer.json" else path.name)
    _refuse_pattern(pattern)
    if isinstance(encoding, str):
        return load_bpe(encoding)
    if isinstance(encoding, tiktoken.Encoding):
        return BpeTokenizer(encoding)
    if isinstance(encoding, BpeTokenizer | Tokenizer):
        return encoding
    raise unknown_encoding(encoding)


def _path(encoding: str | PathLike[str]) -> Path | None:
    """Return the file that is meant; None if a name is."""
    text = fspath(encoding)
    path = Path(text)
    is_plain = isinstance(encoding, str) and path.name == text and path.suffix not in {".json", ".tiktoken"}
    if not text or (is_plain and (text in {"bytes", *tiktoken.list_encoding_names()} or not path.is_dir())):
        return None
    if path.is_dir():
        path /= "tokenizer.json"
    if not path.is_file():
        raise EncodingError(
            f'no file "{path}": encoding= takes a name, or the path of a tokenizer.json, of a directory that '
            "holds one, or of a .tiktoken file"
        )
    return path


def _refuse_pattern(pattern: str | None) -> None:
    if pattern is not None:
        raise EncodingError("pattern= goes with a .tiktoken file: every other encoding has its own; leave it out")


def _load_ranks(path: Path, pattern: str | None) -> Tokenizer:
    """Return the tokenizer of a file of ranks: a line for each token, in base 64, and its rank."""
    if pattern is None:
        raise EncodingError(
            f'"{path}" says nothing of how a text is parted: give pattern=, one of {", ".join(sorted(PATTERNS))}, '
            "or a regular expression"
        )
    ranks: dict[bytes, int] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise EncodingError(f'"{path}" cannot be read ({error.strerror}): give a .tiktoken file') from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise EncodingError(
                f'"{path}", line {number} is {line[:40]!r}: a line is a token in base 64, a blank and its rank'
            ) from None
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing or len(set(ranks.values())) < len(ranks) or min(ranks.values()) < 0:
        wrong = f"lacks the byte {missing[0]}" if missing else "gives a rank to two tokens, or one below 0"
        raise EncodingError(f'"{path}" {wrong}: every byte is a token, and every token has a rank of its own')
    return BpeTokenizer(_encoding(path.name, PATTERNS.get(pattern, pattern), ranks))


def _encoding(name: str, pattern: str, ranks: dict[bytes, int]) -> tiktoken.Encoding:
    try:
        return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise EncodingError(
            f'"{name}" and the pattern {pattern!r:.60} make no encoding ({" ".join(str(error).split())[:120]}): '
            f"give one of {', '.join(sorted(PATTERNS))}, or a regular expression"
        ) from None
