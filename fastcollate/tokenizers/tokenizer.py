"""What a tokenizer is, and what a store remembers of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from fastcollate.ragged import IntArray, Ragged

if TYPE_CHECKING:
    from typing import _ProtocolMeta
else:
    _ProtocolMeta = type(Protocol)

__all__ = ["END_OF_TEXT", "Tokenizer", "TokenizerInfo", "byte_of_letter", "is_panic", "mend", "shared_beginning"]

END_OF_TEXT = "<|endoftext|>"


class _Maker(_ProtocolMeta):
    """What `Tokenizer` can do and a tokenizer need not: a member of the protocol would be asked of every one."""

    def from_callable(
        cls,  # noqa: N805  # of a metaclass
        encode: Callable[[str], ArrayLike],
        *,
        vocab_size: int,
        eot_token_id: int | None = None,
        name: str = "callable",
        byte_lengths: ArrayLike | None = None,
        decode: Callable[[list[int]], str] | None = None,
    ) -> Tokenizer:
        """Return a tokenizer that encodes by a function.

        Args:
            encode: A function from a text to the ids of its tokens, as ordinary text; to be sent to workers, it
                must be defined in a module.
            vocab_size: One more than the largest id.
            eot_token_id: The token that ends a text; None (default) if there is none.
            name: What a store calls the tokenizer, `"callable"` by default; give another name to another function.
            byte_lengths: `int64[vocab_size]`, how many bytes each token stands for, if the tokens of any text,
                side by side, are its bytes. Without it (default) a text is a target as a whole or not at all.
            decode: A function from a list of ids to their text; without it (default) nothing is decoded.

        Raises:
            EncodingError: `byte_lengths` has another length.

        >>> letters = Tokenizer.from_callable(lambda text: list(text.encode()), vocab_size=257, eot_token_id=256)
        >>> letters.encode_batch(["ab", "c"]).values
        array([97, 98, 99], dtype=uint32)
        """
        from fastcollate.tokenizers.callables import CallableTokenizer  # noqa: PLC0415  # which imports this module

        return CallableTokenizer(
            encode,
            vocab_size=vocab_size,
            eot_token_id=eot_token_id,
            name=name,
            byte_lengths=byte_lengths,
            decode=decode,
        )


@runtime_checkable
class Tokenizer(Protocol, metaclass=_Maker):
    """Text to token ids and back; it must survive pickling, and give the same for the same text.

    Text is ordinary text: where a document spells `<|endoftext|>`, the letters are encoded.
    """

    @property
    def name(self) -> str:
        """What `load_encoding` and a store's manifest call the tokenizer."""
        ...

    @property
    def sha256(self) -> str:
        """64 hex digits of the vocabulary's content: the same on every machine."""
        ...

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def eot_token_id(self) -> int | None:
        """The token that ends a text; None if there is none."""
        ...

    def encode(self, text: str) -> IntArray:
        """Return the `int64[V]` ids of a text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the uint32 ids of many texts, a row for each."""
        ...

    def byte_lengths(self) -> IntArray | None:
        """Return `int64[vocab_size]`: how many bytes each token stands for, 0 where no token has the id.

        None says that tokens are no stretches of bytes that give the text side by side; see `encode_with_offsets`.
        """
        ...

    def encode_with_offsets(self, texts: Sequence[str]) -> tuple[Ragged, IntArray]:
        """Return the ids of many texts, and `int64[V, 2]`: which characters of its text each token is of."""
        ...

    def control_id(self, text: str) -> int | None:
        """Return the special token of that name; None if there is none."""
        ...

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of some tokens; bytes that are no UTF-8 (half a character) become U+FFFD."""
        ...


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """What a store remembers of the tokenizer that made its ids."""

    name: str
    sha256: str
    n_vocab: int
    eot_token_id: int | None


def is_panic(error: BaseException) -> bool:
    """Return whether Rust gave up under a tokenizer, which is no Exception in Python."""
    return type(error).__name__ == "PanicException"


def mend(text: str) -> str:
    r"""Join surrogate pairs and replace lone surrogates, the way `tiktoken.Encoding.encode_ordinary` does.

    >>> mend("a\ud83d\ude00\ud83d")
    'a😀�'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def byte_of_letter() -> dict[str, int]:
    """GPT-2's spelling of bytes: one that Latin-1 can show is itself, the others are U+0100, U+0101, ..."""
    shown = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def shared_beginning(first: str, last: str) -> str:
    """Return what two strings begin with, and so every string that is sorted between them.

    >>> shared_beginning("<|im_end|>", "<|im_start|>")
    '<|im_'
    """
    size = min(len(first), len(last))
    return first[: next((i for i in range(size) if first[i] != last[i]), size)]
