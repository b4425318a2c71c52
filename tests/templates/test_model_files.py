import json

import pytest

from fastcollate.errors import InputError
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Segment

pytest.importorskip("jinja2")

TEXT = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{{ eos_token }}{% endfor %}"
CONFIG = {
    "bos_token": {"content": "<bos>", "lstrip": False},
    "eos_token": "<eos>",
    "pad_token": None,
    "added_tokens_decoder": {
        "1": {"content": "<bos>", "special": True},
        "2": {"content": "<eos>", "special": True},
        "3": {"content": "<end>", "special": False},
    },
}
RECORD = {"messages": [{"role": "user", "content": "<eos>"}, {"role": "assistant", "content": "A"}]}
EXPECTED = [
    Segment("<bos>", control=True),
    Segment("[user]<eos>"),
    Segment("<end>", control=True),
    Segment("<eos>", control=True),
    Segment("[assistant]"),
    Segment("A", 1.0),
    Segment("<end>", 1.0, control=True),
    Segment("<eos>", 1.0, control=True),
]


def segments_of(path, **beside) -> list[Segment]:
    (document,) = load_template(path).documents({**RECORD, **beside})
    return list(document.segments)


def test_a_tokenizer_config_has_template_and_tokens(tmp_path):
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**CONFIG, "chat_template": TEXT}))
    assert segments_of(str(path)) == EXPECTED
    assert segments_of(tmp_path) == EXPECTED
    assert load_template(path).name == tmp_path.name


def test_a_jinja_file_takes_the_tokens_beside_it(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "chat_template.jinja").write_text(TEXT)
    assert segments_of(tmp_path / "chat_template.jinja") == EXPECTED
    assert segments_of(tmp_path / "tokenizer_config.json") == EXPECTED


def test_a_template_of_several_has_one_for_tools(tmp_path):
    path = tmp_path / "tokenizer_config.json"
    tools = TEXT + "{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    named = [{"name": "default", "template": TEXT}, {"name": "tool_use", "template": tools}]
    path.write_text(json.dumps({**CONFIG, "chat_template": named}))
    assert segments_of(path) == EXPECTED
    assert segments_of(path, tools=[{"name": "f"}])[-1].text == '{"type": "function", "function": {"name": "f"}}'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tokenizer_config.json", "{}", "it has no chat_template"),
        ("tokenizer_config.json", "[]", r"tokenizer_config.json is \[\]: it must be a JSON object"),
        ("tokenizer_config.json", "{", "that is not JSON"),
        ("tokenizer_config.json", '{"chat_template": [3]}', "it has no chat_template"),
        ("tokenizer_config.json", '{"chat_template": 3}', "it has 3 as its chat_template"),
        ("own.jinja", "{% if %}", "TemplateSyntaxError"),
        ("own.jinja", "{{ eos_token }}", "writes eos_token"),
        ("own.txt", "", "a template is a file that ends in"),
    ],
)
def test_a_file_without_a_template_says_so(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_template(path)
    assert str(caught.value).startswith(f"{path}: ")
