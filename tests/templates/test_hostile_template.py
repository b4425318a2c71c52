"""What a template from a stranger may try: each is an error within about a second, in bounded memory."""

import time

import pytest

from fastcollate import ChatTemplate
from fastcollate.errors import InputError, LimitError

pytest.importorskip("jinja2")

RECORD = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
LIMITED = {
    "power": "{{ 9 ** (9 ** 9) }}",
    "power of a variable": "{% set n = messages | length %}{{ (n + 7) ** ((n + 7) ** (n + 7)) }}",
    "swells": "{{ 'a' * 10**9 }}",
    "swells by a filter": "{{ 'a' | center(10**9) }}",
    "swells by a method": "{{ 'a'.ljust(10**9) }}",
    "swells by a format": "{{ '%1000000000d' % 1 }}",
    "doubles": (
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    ),
    "list": "{{ [0] * 10**9 }}",
    "bytes": "{{ (1).to_bytes(10**9, 'big') }}",
    "writes": "{% for i in range(90000) %}{% for j in range(90000) %}aaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}",
    "loops": "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
    "calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}"
    ),
    "calls itself for ever": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "prints what it shares": (
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"
    ),
    "shifts": "{{ (2 ** 62) ** 99999999 }}",
}
REFUSED = {
    "class": "{{ ''.__class__ }}",
    "class by a filter": "{{ '' | attr('__class__') }}",
    "class by an index": "{{ ''['__class__'].__mro__ }}",
    "class by a format": "{{ '{0.__class__}'.format(1) }}",
    "environment": "{{ self.__init__.__globals__ }}",
    "cycler": "{{ cycler.__init__.__globals__.os }}",
    "appends": "{{ messages.append(1) }}",
    "changes": "{{ messages[0].update({'content': 'x'}) }}",
    "sets": "{% set messages[0].content = 'x' %}",
    "includes": "{% include '/etc/passwd' %}",
    "imports": "{% import '/etc/passwd' as x %}",
    "range": "{{ range(10**9) }}",
    "chance": "{{ messages | random }}",
}


def seconds_until(error: type[Exception] | tuple[type[Exception], ...], text: str) -> float:
    begun = time.process_time(), time.perf_counter()
    with pytest.raises(error) as caught:
        ChatTemplate(text + "{{ messages[0].content }}{{ messages[1].content }}").documents(RECORD)
    assert "\n" not in str(caught.value)
    assert time.process_time() - begun[0] < 0.5
    return time.perf_counter() - begun[1]


@pytest.mark.parametrize("kind", LIMITED)
def test_a_template_without_end_is_ended(kind):
    assert seconds_until(LimitError, LIMITED[kind]) < 10  # of a machine that is shared


@pytest.mark.parametrize("kind", REFUSED)
def test_a_template_that_reaches_too_far_is_refused(kind):
    assert seconds_until(InputError, REFUSED[kind]) < 10


def test_a_template_works_on_after_it_was_ended():
    template = ChatTemplate(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
        "{% set n = 9 * (messages[0].content == 'stop') %}{{ '' if (n ** (n ** n)) }}"
    )
    expected = template.documents(RECORD)
    with pytest.raises(LimitError):
        template.documents({"messages": [{"role": "user", "content": "stop"}, RECORD["messages"][1]]})
    assert template.documents(RECORD) == expected
