"""The process that renders a chat template: started late, and one for all who render the same."""

import pickle
import subprocess
from collections import Counter

import pytest

from fastcollate import ChatTemplate
from fastcollate.errors import InputError

pytest.importorskip("jinja2")

RECORD = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
TEXT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"


@pytest.fixture
def started(monkeypatch):
    """How many processes were started."""
    counts, start = Counter(), subprocess.Popen

    def counted(*args, **options):
        counts["processes"] += 1
        return start(*args, **options)

    monkeypatch.setattr("fastcollate.templates.jinja.helper.subprocess.Popen", counted)
    return counts


def test_the_first_rendering_starts_the_only_process(started):
    template = ChatTemplate(TEXT + "{# first #}", name="a")
    variants = [
        template,
        template.training_on("last"),
        template.renamed({"messages": "messages"}),
        ChatTemplate(TEXT + "{# first #}", name="b"),
        pickle.loads(pickle.dumps(template)),
    ]
    assert started["processes"] == 0
    documents = [variant.documents(RECORD) for variant in variants]
    assert started["processes"] == 1
    assert documents == [documents[0]] * len(variants)
    assert ChatTemplate(TEXT + "{# other #}").documents(RECORD) == documents[0]
    assert started["processes"] == 2


def test_nothing_of_a_template_is_computed_when_it_is_made(started):
    ChatTemplate("{{ 9 ** (9 ** 9) }}")
    assert started["processes"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ " + "(" * 100_000, "the chat template fails: RecursionError"),
        ("{% nothing %}", "TemplateSyntaxError: Encountered unknown tag 'nothing'"),
        ("x" * (2**20 + 1), "the chat template has 1,048,577 characters: it may have 1,048,576"),
    ],
)
def test_a_template_that_cannot_be_read_is_refused_at_once(text, said):
    with pytest.raises(InputError, match=said):
        ChatTemplate(text)


def test_a_name_that_a_template_sets_itself_is_not_asked_for():
    text = "{% set bos_token = '<s>' %}{{ bos_token }}" + TEXT
    (document,) = ChatTemplate(text).documents(RECORD)
    assert document.segments[0].text == "<s>"
