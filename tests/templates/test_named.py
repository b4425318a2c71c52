import pickle

import pytest

from fastcollate.errors import InputError
from fastcollate.templates.named import TEMPLATE_NAMES, load_template
from fastcollate.templates.segments import Segment, Template

PARTS = """
name = "mine"
[[part]]
text = "Q: {question}\\nA:"
[[part]]
text = "{context}"
when = "context"
[[part]]
text = " {answer}"
supervised = true
[fields]
answer = "reply"
"""
ROLES = """
[chat]
begin = "<s>"
control = ["<s>", "</s>"]
[chat.roles.user]
prefix = "USER: "
suffix = "\\n"
[chat.roles.assistant]
prefix = "BOT: "
suffix = "</s>\\n"
"""


def written(folder, text: str | bytes, name: str = "own.toml") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_every_name_is_a_template_that_is_pickled_and_says_what_it_reads(name):
    template = load_template(name)
    assert isinstance(template, Template)
    assert template.name == name
    assert len(template.fingerprint) == 64
    assert pickle.loads(pickle.dumps(template)).fingerprint == template.fingerprint
    assert all(isinstance(key, str) for key in template.keys)
    assert load_template(template) is template


def test_every_template_has_a_fingerprint_of_its_own():
    assert len({load_template(name).fingerprint for name in TEMPLATE_NAMES}) == len(TEMPLATE_NAMES)


def test_a_file_of_parts_is_a_prompt_template(tmp_path):
    template = load_template(written(tmp_path, PARTS))
    assert template.name == "mine"
    (document,) = template.documents({"question": "2+2?", "reply": "4"})
    assert document.segments == [Segment("Q: 2+2?\nA:"), Segment(" 4", 1.0)]


def test_a_file_of_roles_is_a_chat_format(tmp_path):
    template = load_template(tmp_path / written(tmp_path, ROLES))
    assert template.name == "own"
    turns = [{"role": "user", "content": "hi </s>"}, {"role": "assistant", "content": "ho"}]
    (document,) = template.documents({"messages": turns})
    assert document.segments == [
        Segment("<s>", control=True),
        Segment("USER: hi </s>\nBOT: "),
        Segment("ho", 1.0),
        Segment("</s>", 1.0, control=True),
        Segment("\n"),
    ]
    with pytest.raises(InputError, match='template "own" has no role "system": it has user, assistant'):
        template.documents({"messages": [{"role": "system", "content": "S"}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"it must have \[\[part\]\] tables or a \[chat\] table"),
        ("part = 3", r"part of the file is 3: it must be of type list"),
        ("part = [3]", "part 0 is 3: it must be a table"),
        ("[[part]]\ntxt = 'a'", r'part 0 has the unknown key "txt": it takes .*; did you mean "text"\?'),
        ("[[part]]\nsupervised = true", 'part 0 has no "text"'),
        ("[[part]]\ntext = 'a'\nsupervised = 1", "supervised of part 0 is 1: it must be of type bool"),
        ("[[part]]\ntext = '{a.b}'", "is not a plain name"),
        ("[[part]]\ntext = 'a'\n[fields]\nb = 'c'", 'has no field "b"'),
        ("[[part]", "it is not TOML"),
        ("[[parts]]\ntext = 'a'", r'the file has the unknown key "parts": .*did you mean "part"\?'),
        ("[chat]", r'\[chat\] has no "roles"'),
        ("[chat.roles.user]\nprefix = ''\nsuffix = ''", "has no assistant"),
        ("[chat.roles.bot]\nprefix = ''\nsuffix = ''", r'\[chat.roles\] has the unknown key "bot"'),
        ("[chat.roles.assistant]\nprefix = ''", r'\[chat.roles.assistant\] has no "suffix"'),
        (ROLES.replace('"<s>", "</s>"', "3"), r"control is \[3\]"),
        (ROLES.replace('begin = "<s>"', 'tools = "x"'), 'tools is "x": it must be "hermes" or "llama3"'),
        (b"\xff", "byte 0 is not UTF-8"),
        (b" " * (2**20 + 1), "a template has at most 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_no_template_says_why(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=said) as caught:
        load_template(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.path == path


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(InputError, match="the template cannot be read") as caught:
        load_template(str(tmp_path / "none.toml"))
    assert caught.value.reason == "not_found"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r'template "chatlm" is unknown: use one of alpaca, .*mean "chatml"\?'
    ) as caught:
        load_template("chatlm")
    assert caught.value.reason == "unknown_template"
