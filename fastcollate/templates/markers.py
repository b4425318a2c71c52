"""Transcripts in plain text: what follows a response marker is learnt."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.segments import Document, Segment, Template, TokenDocument
from fastcollate.templates.shapes import PreferenceTemplate
from fastcollate.templates.wording import short

__all__ = ["Marked"]


@dataclass(frozen=True, slots=True)
class Marked:
    r"""`Marked` learns, of what another template learns, only what stands between two markers in the text.

    A stretch is learnt from the end of a response marker to the next prompt marker, or to the end of the document.
    Markers are not learnt, and neither is what comes before the first response marker.

    Args:
        template: The template that makes the text.
        response_marker: The text before an answer, such as `"\n\nAssistant:"`.
        prompt_marker: The text before a question, such as `"\n\nHuman:"`; by default answers go on to the end.

    Raises:
        InputError: A marker is empty or no string, or both are the same.

    >>> from fastcollate.templates.fields import PromptTemplate
    >>> template = Marked(PromptTemplate.named("text"), "\nBot:", "\nMe:")
    >>> (document,) = template.documents({"text": "\nMe: 2+2?\nBot: 4\nMe: 3+3?\nBot: 6"})
    >>> [(segment.text, segment.weight) for segment in document.segments]
    [('\nMe: 2+2?\nBot:', 0.0), (' 4', 1.0), ('\nMe: 3+3?\nBot:', 0.0), (' 6', 1.0)]
    """

    template: Template
    response_marker: str
    prompt_marker: str | None = None

    def __post_init__(self) -> None:
        markers = {"response_marker": self.response_marker, "prompt_marker": self.prompt_marker}
        for name, marker in markers.items():
            if (marker is not None or name == "response_marker") and (not isinstance(marker, str) or not marker):
                raise InputError(f"{name} is {short(marker)}: it must be text that stands before each turn")
        if self.response_marker == self.prompt_marker:
            raise InputError(
                f"both markers are {short(self.prompt_marker)}: nothing would tell answers from questions"
            )
        if isinstance(self.template, PreferenceTemplate):
            object.__setattr__(self, "template", replace(self.template, transcripts=True))

    @property
    def name(self) -> str:
        """What error messages and a store's manifest call the template."""
        return self.template.name

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with the template and the markers."""
        content = json.dumps([self.template.fingerprint, self.response_marker, self.prompt_marker])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a record that are read."""
        template: Any = self.template
        keys: frozenset[str] = template.keys
        return keys

    def documents(self, record: Mapping[str, Any]) -> list[Document | TokenDocument]:
        """Return the documents of one record, with less of them learnt.

        Raises:
            InputError: As the template's own; or its documents are tokens, which hold no text to find markers in.
        """
        documents: list[Document | TokenDocument] = []
        for document in self.template.documents(record):
            if isinstance(document, TokenDocument):
                raise InputError("response_marker= is for text, and the record holds tokens: leave it out")
            documents.append(document._replace(segments=list(self._segments(document))))
        return documents

    def _segments(self, document: Document) -> Iterator[Segment]:
        """Yield the segments, cut at the markers; one that ends in a segment says what the next begins with."""
        markers = [marker for marker in (self.response_marker, self.prompt_marker) if marker]
        pattern = re.compile("|".join(map(re.escape, sorted(markers, key=len, reverse=True))))
        learning = False
        for segment in document.segments:
            if segment.control:
                yield segment if learning else segment._replace(weight=0.0)
                continue
            start = 0
            for found in pattern.finditer(segment.text):
                # A question's marker belongs to what comes after it, an answer's to what comes before.
                is_response = found[0] == self.response_marker
                stop = found.start() if learning else found.end() if is_response else found.start()
                if stop > start:
                    yield Segment(segment.text[start:stop], segment.weight if learning else 0.0)
                    start = stop
                if learning and is_response:
                    yield Segment(found[0])
                    start = found.end()
                learning = is_response
            if start < len(segment.text):
                yield Segment(segment.text[start:], segment.weight if learning else 0.0)
