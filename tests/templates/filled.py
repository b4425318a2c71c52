"""What a template makes of a record, as tests look at it."""

from fastcollate.templates.fields import PromptTemplate
from fastcollate.templates.segments import Segment


def segments_of(template: PromptTemplate | str, record: dict) -> list[Segment]:
    """The segments of the only document."""
    template = PromptTemplate.named(template) if isinstance(template, str) else template
    (document,) = template.documents(record)
    assert document.group is None
    assert not any(segment.control for segment in document.segments)
    return document.segments


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)
