"""Which names a template takes from its caller: told by its grammar alone, so that nothing of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastcollate.errors import InputError

__all__ = ["names_read"]

_MOST_CHARACTERS = 2**20  # the longest of a model has some tens of thousands


def names_read(texts: Sequence[str]) -> frozenset[str]:
    """Return the names that some templates read and never set.

    Raises:
        InputError: A template is broken, or too long.

    >>> sorted(names_read(["{% set x = bos_token %}{{ x }}{% generation %}{{ y }}{% endgeneration %}"]))
    ['bos_token', 'y']
    """
    from jinja2 import TemplateSyntaxError, nodes  # noqa: PLC0415  # an extra

    environment = _environment()
    found = list[Any]()
    for text in texts:
        if len(text) > _MOST_CHARACTERS:
            raise InputError(f"the chat template has {len(text):,} characters: it may have {_MOST_CHARACTERS:,}")
        try:
            found += environment.parse(text).find_all(nodes.Name)
        except (TemplateSyntaxError, RecursionError) as error:
            why = " ".join(str(error).split())[:400]
            raise InputError(
                f"the chat template fails: {type(error).__name__}: {why}", reason="bad_template"
            ) from None
    return frozenset(
        {name.name for name in found if name.ctx == "load"} - {n.name for n in found if n.ctx != "load"}
    )


def _environment() -> Any:
    from jinja2 import Environment, ext  # noqa: PLC0415

    class Generation(ext.Extension):
        """Take what stands in `{% generation %}` for what it is."""

        tags = {"generation"}  # noqa: RUF012  # as Jinja has it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Environment(  # noqa: S701  # nothing is rendered
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
