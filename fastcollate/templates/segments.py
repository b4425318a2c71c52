"""What a template makes of a record: documents, each of segments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTROL_LOOKS", "CONTROL_NAMES", "Document", "Segment", "Template", "Texts", "TokenDocument"]

CONTROL_NAMES = (
    *("<|endoftext|>", "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "[INST]", "[/INST]"),
    *("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[BOS]", "[EOS]", "<start_of_turn>", "<end_of_turn>"),
    *("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|eot_id|>"),
    *("<|end_header_id|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
"""Control tokens that many vocabularies have: those to ask for where a tokenizer does not list its own."""

# "[INST]" is a token of some vocabularies and text in others: it does not look like one.
_SPELT = [name for name in CONTROL_NAMES if not (name.startswith("<|") or "INST" in name)]
CONTROL_LOOKS = r"<[|\uff5c][^<>|\uff5c\s]{1,64}[|\uff5c]>|" + "|".join(map(re.escape, _SPELT))
"""A pattern of what a control token looks like, where nobody says which there are."""


class Segment(NamedTuple):
    """A stretch of a document's text.

    Attributes:
        text: The text itself, or the name of a special token.
        weight: 1 makes the tokens targets, 0 (default) does not.
        control: True makes the whole text one special token of the encoding, which no record's text can become.

    >>> Segment("2 + 2 is "), Segment("4", weight=1.0)
    (Segment(text='2 + 2 is ', weight=0.0, control=False), Segment(text='4', weight=1.0, control=False))
    """

    text: str
    weight: float = 0.0
    control: bool = False


class Document(NamedTuple):
    """The segments of one document, in order and with nothing between them.

    Attributes:
        segments: The text.
        group: Documents of one record with equal groups stay together; None (default) is alone.
    """

    segments: Sequence[Segment]
    group: int | None = None


class Texts(NamedTuple):
    """Documents without control tokens and groups, as whole texts.

    Attributes:
        texts: The text of each of D documents.
        sizes: The characters of each segment; the segments of a document are its whole text. int64.
        weights: The weight of each segment. float32.
        offsets: `int64[D + 1]`, the first segment of each document, which has at least one.
    """

    texts: list[str]
    sizes: NDArray[np.int64]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]


class TokenDocument(NamedTuple):
    """A document that is tokens already: it passes the tokenizer by.

    Attributes:
        input_ids: `uint32[V]`, the tokens.
        weights: `float32[V]`, the weight of each token: 0 is no target.
        group: As `Document.group`.
    """

    input_ids: NDArray[np.uint32]
    weights: NDArray[np.float32]
    group: int | None = None


@runtime_checkable
class Template(Protocol):
    """How a record becomes documents; it must survive pickling, and give the same for the same record.

    Four attributes are asked for where a template has them: `keys` (a frozenset of the record's keys that it
    reads), `training_on(train_on)` and `renamed(fields)`, which return the same template with other turns learnt,
    and for records with other keys, and `texts(records)`: the documents of many records at once, as `Texts`, or
    None where `documents` must look at each.
    """

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        ...

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with whatever changes the documents."""
        ...

    def documents(self, record: Mapping[str, Any]) -> Sequence[Document | TokenDocument]:
        """Return the documents of one record.

        Raises:
            InputError: The record is not what the template needs; `reason` says why in a word.
        """
        ...
