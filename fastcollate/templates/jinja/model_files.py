"""The files of a model that hold its chat template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.jinja.chat_template import ChatTemplate
from fastcollate.templates.wording import parsed_json, short

__all__ = ["from_config", "from_jinja"]

_CONFIG = "tokenizer_config.json"
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def from_jinja(text: str, path: Path) -> ChatTemplate:
    """Return the template of a `.jinja` file; its special tokens are those of the model's files beside it.

    Raises:
        InputError: The template or the file beside it is broken.
    """
    beside = path.with_name(_CONFIG)
    config = _object(beside.read_text("utf-8"), beside) if beside.is_file() else {}
    return ChatTemplate(text, name=_name(path), **_tokens(config))


def from_config(text: str, path: Path) -> ChatTemplate:
    """Return the template of a `tokenizer_config.json`, or of the `chat_template.jinja` beside it.

    Raises:
        InputError: There is none, or the file is not what such a file is.
    """
    config = _object(text, path)
    template = config.get("chat_template")
    beside = path.with_name("chat_template.jinja")
    if template is None and beside.is_file():
        template = beside.read_text("utf-8")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, Mapping)}
        template, with_tools = named.get("default"), named.get("tool_use")
    else:
        with_tools = None
    if not isinstance(template, str):
        found = f"{short(template)} as its" if template is not None else "no"
        raise InputError(f"it has {found} chat_template: give the path of a .jinja file, or a built-in name")
    return ChatTemplate(template, name=_name(path), with_tools=with_tools, **_tokens(config))


def _name(path: Path) -> str:
    """Return the name of the model's folder, which says more than the file's."""
    return path.resolve().parent.name or path.stem


def _object(text: str, path: Path) -> dict[str, Any]:
    content = parsed_json(text, f"{path.name} has content")
    if not isinstance(content, dict):
        raise InputError(f"{path.name} is {short(content)}: it must be a JSON object")
    return content


def _tokens(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `ChatTemplate` that name the model's tokens."""
    named = {name: token for name in _TOKENS if (token := _content(config.get(name))) is not None}
    added = config.get("added_tokens_decoder")
    if not config:
        return {}
    arguments: dict[str, Any] = {
        "bos_token": named.get("bos_token", ""),
        "eos_token": named.get("eos_token", ""),
        "variables": {name: token for name, token in named.items() if name not in ("bos_token", "eos_token")},
    }
    if isinstance(added, Mapping):
        tokens = [token for token in added.values() if isinstance(token, Mapping) and _content(token)]
        special = [str(_content(token)) for token in tokens if token.get("special")]
        extra = [token for token in map(_content, config.get("additional_special_tokens") or []) if token]
        arguments["control_tokens"] = tuple(dict.fromkeys([*special, *extra, *named.values()]))
        arguments["markup_tokens"] = tuple(str(_content(token)) for token in tokens if not token.get("special"))
    return arguments


def _content(token: object) -> str | None:
    """Return the text of a token, which stands alone or among its properties."""
    content = token.get("content") if isinstance(token, Mapping) else token
    return content if isinstance(content, str) else None
