"""Any template by what a caller gives: a name, a file, or the template itself."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fastcollate.errors import InputError
from fastcollate.templates.built_in import BUILT_IN, CHAT_FORMATS
from fastcollate.templates.chat import ChatFormat
from fastcollate.templates.fields import Part, PromptTemplate
from fastcollate.templates.segments import Template
from fastcollate.templates.shapes import InstancesTemplate, PreferenceTemplate, TokensTemplate
from fastcollate.templates.wording import nearest, short

__all__ = ["TEMPLATE_NAMES", "load_template"]

_PAIRS = {"preference": "chatml"} | {f"preference_{name}": name for name in CHAT_FORMATS if name != "chatml"}
TEMPLATE_NAMES = tuple(sorted([*BUILT_IN, *CHAT_FORMATS, *_PAIRS, "instances", "tokens"]))
"""The names of all built-in templates."""

_MOST_BYTES = 2**20  # of a file; it is written by hand
_FORMATS = {".toml", ".jinja", ".jinja2", ".j2", ".json"}
_PART = {"text": str, "supervised": bool, "when": str, "unless": str}
_CHAT = {"begin": str, "control": list, "tools": str, "trim": bool, "roles": dict}


def load_template(template: str | Path | Template) -> Template:
    """Return a template by its name, from a file, or as it is.

    Args:
        template: A built-in name, a `Template`, or the path of a `.toml` file of parts or roles.

    Raises:
        InputError: No template has that name, or the file cannot be read or is no template.

    >>> load_template("chatml").name, sorted(load_template("alpaca").keys)
    ('chatml', ['input', 'instruction', 'output'])
    """
    if isinstance(template, Template):
        return template
    if isinstance(template, Path) or (isinstance(template, str) and _is_path(template)):
        return _from_file(Path(template))
    found = _named(template)
    if found is None:
        raise InputError(
            f"template {short(template)} is unknown: use one of {', '.join(TEMPLATE_NAMES)}, the path of a .toml "
            f"or .jinja file, or a PromptTemplate of your own{nearest(template, TEMPLATE_NAMES)}",
            reason="unknown_template",
        )
    return found


def _is_path(name: str) -> bool:
    return Path(name).suffix in _FORMATS or os.sep in name


def _named(name: object) -> Template | None:
    if not isinstance(name, str):
        return None
    if name in BUILT_IN:
        return PromptTemplate.named(name)
    if name in CHAT_FORMATS:
        return ChatFormat(name, **CHAT_FORMATS[name])
    if name in _PAIRS:
        return PreferenceTemplate(ChatFormat(_PAIRS[name], **CHAT_FORMATS[_PAIRS[name]]))
    if name == "instances":
        return InstancesTemplate(PromptTemplate.named("stanford_alpaca"))
    return TokensTemplate() if name == "tokens" else None


def _from_file(path: Path) -> Template:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise InputError(
            f"{path}: the template cannot be read ({error.strerror or error})", path=str(path), reason=reason
        ) from None
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: a template has at most {_MOST_BYTES:,} bytes", path=str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8", path=str(path), reason="not_utf8") from None
    try:
        return _from_toml(text, path.stem)
    except InputError as error:
        raise InputError(f"{path}: {error}", path=str(path), reason=error.reason) from None


def _from_toml(text: str, name: str) -> Template:
    """Return the template that a TOML file describes: `[[part]]` tables, or a `[chat]` with its roles."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"it is not TOML ({error})") from None
    _check(content, {"name": str, "part": list, "chat": dict, "fields": dict}, "the file")
    if ("part" in content) == ("chat" in content):
        raise InputError("it must have [[part]] tables or a [chat] table, one of the two")
    name = content.get("name", name)
    made = _chat(name, content["chat"]) if "chat" in content else _prompt(name, content["part"])
    return made.renamed(content.get("fields", {}))


def _prompt(name: str, parts: list[Any]) -> PromptTemplate:
    for i, part in enumerate(parts):
        _check(part, _PART, f"part {i}", needed=("text",))
    return PromptTemplate(name, tuple(Part(**part) for part in parts))


def _chat(name: str, chat: Mapping[str, Any]) -> ChatFormat:
    _check(chat, _CHAT, "[chat]", needed=("roles",))
    _check(
        chat["roles"], dict.fromkeys(("system", "developer", "user", "assistant", "tool"), dict), "[chat.roles]"
    )
    for role, place in chat["roles"].items():
        _check(place, {"prefix": str, "suffix": str}, f"[chat.roles.{role}]", needed=("prefix", "suffix"))
    if "assistant" not in chat["roles"]:
        raise InputError("[chat.roles] has no assistant: nothing would be learnt")
    control = chat.get("control", [])
    if not all(isinstance(token, str) and token for token in control):
        raise InputError(f"control is {short(control)}: it must be a list of special tokens, as strings")
    if chat.get("tools", "hermes") not in ("hermes", "llama3"):
        raise InputError(f'tools is {short(chat["tools"])}: it must be "hermes" or "llama3"')
    roles = tuple((role, place["prefix"], place["suffix"]) for role, place in chat["roles"].items())
    return ChatFormat(name, **{**chat, "roles": roles, "control": tuple(control)})


def _check(table: object, known: Mapping[str, type], where: str, needed: Collection[str] = ()) -> None:
    """Raise where a table has other keys than `known`, a value of another type, or lacks one that is needed."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is {short(table)}: it must be a table")
    for key, value in table.items():
        if key not in known:
            raise InputError(
                f"{where} has the unknown key {short(key)}: it takes {', '.join(known)}{nearest(key, known)}"
            )
        if not isinstance(value, known[key]):
            raise InputError(f"{key} of {where} is {short(value)}: it must be of type {known[key].__name__}")
    for key in needed:
        if key not in table:
            raise InputError(f'{where} has no "{key}": it needs one')
