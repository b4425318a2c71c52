"""Hugging Face's `tokenizer.json`, of any kind, through `tokenizers`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray, Ragged
from fastcollate.templates.segments import CONTROL_LOOKS
from fastcollate.tokenizers.tokenizer import byte_of_letter, is_panic, mend

__all__ = ["JsonTokenizer"]

# What a token that ends a text is called; what ends a turn of a conversation comes last.
_ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")
_TURN_ENDS = ("<|im_end|>",)
_CONTROL = re.compile(CONTROL_LOOKS)
# Steps before the model that neither add nor drop a byte.
_KEEPING = ("ByteLevel", "Digits", "Split")


class JsonTokenizer:
    """`JsonTokenizer` makes a `Tokenizer` of the content of a `tokenizer.json`.

    Its ids are those of `tokenizers` for ordinary text: what the file adds around a text is left out, and the
    name of a special token in a text is letters. Each text is encoded on the calling thread.

    Args:
        content: The file's content.
        name: What the tokenizer is called.
        eos: The name of the token that ends texts, where a file beside it says so; by default it is found among
            the added tokens.

    Raises:
        EncodingError: `tokenizers` is not installed, or does not take the content.
    """

    def __init__(self, content: str, name: str, eos: str | None = None) -> None:
        self.name = name
        self._made_of = content, name, eos
        parsed = _parsed(content, name)
        self._content = _for_ordinary_text(parsed)
        self._tokenizer = _loaded(json.dumps(self._content), name)
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self._added = {token["content"]: int(token["id"]) for token in self._content["added_tokens"]}
        self.control_names = frozenset(t["content"] for t in self._content["added_tokens"] if t["special"])
        self.eot_token_id = self._end(eos)

    def __repr__(self) -> str:
        return f"JsonTokenizer({self.name!r}, {self.vocab_size} tokens)"

    def __reduce__(self) -> tuple[object, ...]:
        return JsonTokenizer, self._made_of

    def _end(self, eos: str | None) -> int | None:
        """Return the token that ends a text: as the file beside says, but for one that ends turns only."""
        first = (eos,) if eos in _ENDS else ()
        for name in (*first, *_ENDS, eos, *_TURN_ENDS):
            if name is not None and (found := self._tokenizer.token_to_id(name)) is not None:
                return int(found)
        return None

    @cached_property
    def sha256(self) -> str:
        """64 hex digits of the content: the same however the file is laid out."""
        return sha256(json.dumps(self._content, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text.

        Raises:
            EncodingError: `tokenizers` cannot encode the text.
        """
        return np.array(self._encoded(text).ids, np.int64)

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each.

        Raises:
            EncodingError: `tokenizers` cannot encode a text; `document` is its number.
        """
        return Ragged.from_rows([self._encoded(text, i).ids for i, text in enumerate(texts)], np.uint32)

    def byte_lengths(self) -> IntArray | None:
        """Return `int64[vocab_size]`: the bytes of each token, if all tokens are bytes; else None."""
        return self._byte_lengths

    @cached_property
    def _byte_lengths(self) -> IntArray | None:
        if not _is_of_bytes(self._content):
            return None
        bytes_of = byte_of_letter()
        lengths = np.zeros(self.vocab_size, np.int64)
        for token, number in self._content["model"]["vocab"].items():
            if not all(letter in bytes_of for letter in token):
                return None
            lengths[number] = len(token)
        for token, number in self._added.items():
            lengths[number] = len(token.encode())
        lengths.flags.writeable = False  # every caller shares it
        return lengths

    def encode_with_offsets(self, texts: Sequence[str]) -> tuple[Ragged, IntArray]:
        """Return the ids of many texts, and `int64[V, 2]`: which characters of its text each token is of.

        Raises:
            EncodingError: `tokenizers` cannot encode a text; `document` is its number.
        """
        encoded = [self._encoded(text, i) for i, text in enumerate(texts)]
        places = [np.array(item.offsets, np.int64).reshape(-1, 2) for item in encoded]
        ids = Ragged.from_rows([item.ids for item in encoded], np.uint32)
        return ids, np.concatenate([np.zeros((0, 2), np.int64), *places])

    def _encoded(self, text: str, number: int | None = None) -> Any:
        try:
            return self._tokenizer.encode(text if text.isascii() else mend(text), add_special_tokens=False)
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            raise EncodingError(
                f'a text of {len(text):,} characters cannot be encoded by "{self.name}" '
                f"({' '.join(str(error).split())[:80]}): leave it out, or shorten it",
                document=number,
            ) from None

    def control_id(self, text: str) -> int | None:
        """Return the added token of that name; None if there is none."""
        return self._added.get(text)

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens, control tokens included.

        Raises:
            EncodingError: An id is no token.
        """
        plain = np.asarray(ids).tolist()
        for i in plain:
            if not (
                isinstance(i, int) and 0 <= i < self.vocab_size and self._tokenizer.id_to_token(i) is not None
            ):
                raise EncodingError(
                    f'{i!r} is no token of encoding "{self.name}": ids go from 0 to {self.vocab_size - 1}; '
                    "load the encoding these ids were made with"
                )
        return str(self._tokenizer.decode(plain, skip_special_tokens=False))


def load_json(path: Path, name: str) -> JsonTokenizer:
    """Return the tokenizer of a file, with the end that `tokenizer_config.json` beside it names.

    Raises:
        EncodingError: The file cannot be read, or is none.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise EncodingError(
            f'"{path}" cannot be read ({reason}): give a tokenizer.json of Hugging Face'
        ) from error
    eos = None
    try:
        eos = json.loads(path.with_name("tokenizer_config.json").read_text(encoding="utf-8")).get("eos_token")
        eos = eos.get("content") if isinstance(eos, dict) else eos
    except (OSError, ValueError, AttributeError, RecursionError):
        pass  # it is there to help
    return JsonTokenizer(content, name, eos if isinstance(eos, str) else None)


def _parsed(content: str, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EncodingError(
            f'"{name}" is not JSON ({" ".join(str(error).split())[:80]}): give a tokenizer.json of Hugging Face'
        ) from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise EncodingError(f'"{name}" has no "model": give a tokenizer.json of Hugging Face')
    return parsed


def _for_ordinary_text(parsed: dict[str, Any]) -> dict[str, Any]:
    """Return the content without what it does around texts, and with every control token marked as special."""
    added = [
        {**token, "special": bool(token.get("special")) or _CONTROL.fullmatch(token["content"]) is not None}
        for token in parsed.get("added_tokens") or []
    ]
    return {**parsed, "added_tokens": added, "truncation": None, "padding": None, "post_processor": None}


def _loaded(content: str, name: str) -> Any:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  # an extra
    except ImportError:
        raise EncodingError(f'"{name}" is read by tokenizers: install fastcollate[hf]') from None
    try:
        tokenizer = Tokenizer.from_str(content)
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise EncodingError(
            f'"{name}" is not a tokenizer that tokenizers takes ({" ".join(str(error).split())[:120]}): give a '
            "tokenizer.json of Hugging Face, or install a newer tokenizers"
        ) from None
    tokenizer.encode_special_tokens = True  # their names in a text are letters
    return tokenizer


def _is_of_bytes(content: dict[str, Any]) -> bool:
    """Whether the tokens of any text, side by side, are its bytes."""
    before = content.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else [before]
    levels = [step for step in steps if step.get("type") == "ByteLevel"]
    model = content["model"]
    vocabulary = model.get("vocab")
    return (
        content.get("normalizer") is None
        and model.get("type", "BPE") == "BPE"
        and isinstance(vocabulary, dict)
        and not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and bool(levels)
        and not any(step.get("add_prefix_space", True) for step in levels)
        and all(step.get("type") in _KEEPING and step.get("behavior") != "Removed" for step in steps)
        and all(letter in vocabulary for letter in byte_of_letter())
        and not any(token.get("lstrip") or token.get("rstrip") for token in content["added_tokens"])
    )
