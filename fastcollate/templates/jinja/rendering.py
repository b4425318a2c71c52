"""What the helper process of a `ChatTemplate` runs: Jinja in a sandbox, and which text each turn became.

A sandbox keeps a template from what it must not touch, but not from computing for ever or filling the memory
(`{{ 9 ** (9 ** 9) }}` does both in one operation, which no signal handler interrupts). A process can be bounded:
its memory by a limit of the system, its time by a timer whose signal ends it. Requests and replies are lines of
JSON.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain
from typing import Any

from fastcollate.templates.jinja.masks import Masks
from fastcollate.templates.jinja.turn_places import ANY_TURN, Pieces, TooLargeError, Turns, cut

__all__ = ["serve"]

_MEMORY = 768 * 2**20  # bytes of address space
_SECONDS = 1.0  # of processor time for one rendering
_CHARACTERS = 2**24  # of output, and eight times the conversation's own
_MARKS = ("\U000f5eea", "\U000f5eeb")


def _environment(setup: dict[str, Any]) -> Any:
    """Return the Jinja environment that Hugging Face renders chat templates in, without chance and clock."""
    import jinja2  # noqa: PLC0415  # this process alone needs it
    from jinja2 import ext, nodes, sandbox  # noqa: PLC0415
    from jinja2.exceptions import SecurityError  # noqa: PLC0415

    class Generation(ext.Extension):
        """Put marks around what stands in `{% generation %}`, where marks are asked for."""

        tags = {"generation"}  # noqa: RUF012  # as Jinja has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

        def _marked(self, caller: Callable[[], str]) -> str:
            environment: Any = self.environment
            before, after = environment.marks
            return f"{before}{caller()}{after}"

    class Sandbox(sandbox.ImmutableSandboxedEnvironment):
        """Refuse at once what is not safe, where Jinja's own prints nothing."""

        marks = ("", "")

        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            raise SecurityError(f"it reaches for {attribute!r} of a {type(obj).__name__}")

    made = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols], finalize=_without_none
    )
    made.filters["tojson"] = _tojson
    del made.filters["random"], made.globals["lipsum"]
    made.globals["raise_exception"] = _raiser(jinja2.TemplateError)
    if setup["date"]:
        made.globals["strftime_now"] = date.fromisoformat(setup["date"]).strftime
    return made


def _without_none(value: Any) -> Any:
    """Print nothing for content that is null, where Jinja prints "None"."""
    return "" if value is None else value


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raiser(error: type[Exception]) -> Callable[[str], str]:
    def raise_exception(message: str) -> str:
        raise error(f"it says {message!r}")

    return raise_exception


class _Server:
    """Answers the requests of one template."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.environment = _environment(setup)
        self.control = re.compile(setup["control"])
        self.lenient = frozenset(setup["lenient"])
        self.variables = setup["variables"]
        self.around = "".join(setup["texts"])
        with _Timer():
            self.templates = [self.environment.from_string(text) for text in setup["texts"]]

    def pieces(self, request: dict[str, Any], line: str) -> Pieces:
        """Return the text of a conversation in pieces: its turn or -1, and whether it is a special token."""
        given = [*request["messages"], request["tools"]]
        masks = Masks(self.control, given, line + self.around)
        most = _CHARACTERS + 8 * len(line)
        hidden = self._hidden(given, masks, most) if masks.spelt else given
        pieces = self._marked(hidden, most) if "generation" in self.around else None
        if pieces is None:
            turns = Turns(
                lambda messages, prompt: self._text([*messages, hidden[-1]], prompt, most),
                hidden[:-1],
                self.control,
            )
            pieces = cut(turns.text, self.control, turns.places(request["wanted"]))
        return [(masks.undone(text), turn, control) for text, turn, control in pieces]

    def _hidden(self, given: list[Any], masks: Masks, most: int) -> list[Any]:
        """Return the messages with the special tokens' names in them hidden.

        What the template itself looks for in a message (`</think>`), and is markup, must be seen, and is its own.
        """
        plain = self._text(given, False, most)

        def alters(names: Collection[tuple[int, str]]) -> bool:
            return masks.undone(self._text(masks.applied(given, names), False, most)) != plain

        only = set(masks.spelt)
        if alters(only):
            only = {place for place in only if place[1] not in self.lenient}
            if alters(only):
                raise ValueError("a message spells a special token, and the template alters it")
            for place in masks.spelt:
                if place not in only and not alters({*only, place}):
                    only.add(place)
        return masks.applied(given, only)

    def _marked(self, given: list[Any], most: int) -> Pieces | None:
        """Return the pieces by `{% generation %}`; None where the template has no such marks."""
        text = self._text(given, False, most, _MARKS)
        plain = self._text(given, False, most)
        if text == plain:
            return None
        if text.translate(dict.fromkeys(map(ord, _MARKS))) != plain:
            raise ValueError("the template alters what its own {% generation %} marks")
        places, depth, at, start = [], 0, 0, 0
        for part in re.split(f"([{''.join(_MARKS)}])", text):
            if part not in _MARKS:
                at += len(part)
                continue
            depth += 1 if part == _MARKS[0] else -1
            if depth == 1 and part == _MARKS[0]:
                start = at
            elif depth == 0:
                places.append((start, at))
        answers = [i for i, message in enumerate(given[:-1]) if message["role"] == "assistant"]
        turns = answers if len(answers) == len(places) else [ANY_TURN] * len(places)
        return cut(plain, self.control, [(*place, turn) for place, turn in zip(places, turns, strict=True)])

    def _text(self, given: Sequence[Any], prompt: bool, most: int, marks: tuple[str, str] = ("", "")) -> str:
        """Render messages, of which the last entry is the tools."""
        *messages, tools = given
        template = self.templates[-1 if tools else 0]
        self.environment.marks = marks
        size, written = 0, []
        with _Timer():
            for piece in template.generate(
                **self.variables, messages=messages, tools=tools, documents=None, add_generation_prompt=prompt
            ):
                size += len(piece)
                if size > most:
                    raise TooLargeError(f"it writes more than {most:,} characters")
                written.append(piece)
        return "".join(written)


class _Timer:
    """Ends this process where what stands inside takes too long; no handler of Python's could interrupt it."""

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)


def serve() -> None:
    """Answer requests from standard input until it ends."""
    setup = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for limit, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system has it
            resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
    server: _Server | None = None
    for line in chain([""], sys.stdin):
        reply: dict[str, Any]
        try:
            if server is None:
                server = _Server(setup)
                reply = {}
            else:
                reply = {"pieces": server.pieces(json.loads(line), line)}
        except (MemoryError, RecursionError, TooLargeError) as error:
            said = str(error) if isinstance(error, TooLargeError) else "it nests or computes without end"
            reply = {"limit": "it takes too much memory" if isinstance(error, MemoryError) else said}
        except Exception as error:  # noqa: BLE001  # whatever a template raises
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:400]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
