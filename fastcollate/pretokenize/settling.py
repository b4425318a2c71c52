"""What `prepare` finds out from the first records before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastcollate.errors import EncodingError, InputError
from fastcollate.pretokenize.telling import say
from fastcollate.templates.detect import detect, fitted
from fastcollate.templates.markers import Marked
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Template
from fastcollate.tokenizers.load import AnyEncoding, load_encoding
from fastcollate.tokenizers.tokenizer import Tokenizer

__all__ = ["settle_template", "settle_tokenizer"]


def settle_template(
    template: str | Path | Template | None,
    records: Sequence[Mapping[str, Any]],
    *,
    fields: Mapping[str, str] | None,
    train_on: str,
    markers: tuple[str | None, str | None],
) -> Template:
    """Return the template that is named, or the one that the first records ask for, as the arguments want it.

    Raises:
        InputError: No template has that name, the records fit none, or the template has not what is asked of it.
    """
    named = [_named(record, fields) for record in records] if fields else records
    if template is not None:
        chosen = fitted(load_template(template), named)
    else:
        found = detect(named)
        say([found.line])
        chosen = found.template
    if fields is not None:
        chosen = _able(chosen, "renamed", "fields=", "fields: rename the keys of the records instead")(fields)
    if train_on != "all":
        chosen = _able(chosen, "training_on", "train_on=", "turns: leave it out")(train_on)
    response_marker, prompt_marker = markers
    if response_marker is None:
        if prompt_marker is not None:
            raise InputError("prompt_marker= was given without response_marker=: give both, or the second alone")
        return chosen
    return Marked(chosen, response_marker, prompt_marker)


def settle_tokenizer(encoding: AnyEncoding, *, append_eot: bool) -> Tokenizer:
    """Return the tokenizer, which has the token that records are to end with.

    Raises:
        EncodingError: The encoding is unknown or out of reach, or has no such token.
    """
    tokenizer = load_encoding(encoding)
    if append_eot and tokenizer.eot_token_id is None:
        raise EncodingError(
            f'encoding "{tokenizer.name}" has no end-of-text token, with which records end: use one that has '
            "it, or set append_eot=False (--no-eot)"
        )
    return tokenizer


def _named(record: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """Return a record with the template's own names for the keys that `fields` maps."""
    named = {name: record[key] for name, key in fields.items() if key in record}
    return {key: value for key, value in record.items() if key not in fields.values()} | named


def _able(template: Template, method: str, argument: str, what: str) -> Any:
    """Return a method of a template that not every template has."""
    found = getattr(template, method, None)
    if found is None:
        raise InputError(
            f'{argument} was given with template "{template.name}", which has no {what}, or choose another '
            "template",
            reason="unknown_field",
        )
    return found
