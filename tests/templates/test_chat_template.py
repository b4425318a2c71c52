import pickle

import pytest

from fastcollate import ChatTemplate
from fastcollate.errors import InputError
from fastcollate.templates.segments import Segment

pytest.importorskip("jinja2")

from chat_templates import CHATML, ENDS_ONCE, INSTRUCTIONS, MARKED, REASONING, TOKENS, rendered

MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")
MESSAGES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": " Q1"},
    {"role": "assistant", "content": "A1 "},
    {"role": "user", "content": "Q2\n"},
    {"role": "assistant", "content": "\nA2"},
]
KINDS = {"chatml": CHATML, "ends": ENDS_ONCE, "inst": INSTRUCTIONS, "think": REASONING, "marked": MARKED}
LEARNT = {
    "chatml": ["A1 <|im_end|>", "\nA2<|im_end|>"],
    "ends": ["A1 <|end|>", "\nA2<|end|>\n</s>"],
    "inst": ["A1 </s>", "A2 </s>"],
    "think": ["A1 <|im_end|>", "<think>\n\n</think>\n\n\nA2<|im_end|>"],
    "marked": ["A1 <|im_end|>", "\nA2<|im_end|>"],
}


@pytest.fixture(scope="module")
def templates() -> dict[str, ChatTemplate]:
    """One of each kind: each has a process of its own."""
    return {kind: ChatTemplate(text, name=kind, **TOKENS, markup_tokens=MARKUP) for kind, text in KINDS.items()}


def segments_of(template: ChatTemplate, messages: list, **beside) -> list[Segment]:
    (document,) = template.documents({"messages": messages, **beside})
    return list(document.segments)


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def learnt_of(segments: list[Segment]) -> list[str]:
    """Each stretch that is learnt."""
    stretches, before = [], False
    for segment in segments:
        if segment.weight:
            stretches = [*stretches[:-1], stretches[-1] + segment.text] if before else [*stretches, segment.text]
        before = bool(segment.weight)
    return stretches


def refused(template: ChatTemplate, messages: list, **beside) -> str:
    with pytest.raises(InputError) as caught:
        template.documents({"messages": messages, **beside})
    assert caught.value.reason == "bad_template"
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_what_jinja_makes_of_it_and_each_answer_is_learnt(kind, templates):
    segments = segments_of(templates[kind], MESSAGES)
    assert text_of(segments) == rendered(KINDS[kind], MESSAGES)
    assert learnt_of(segments) == LEARNT[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_messages_stay_ordinary_text(kind, templates):
    plain = [segment for segment in segments_of(templates[kind], MESSAGES) if segment.control]
    for name in ("<|im_start|>", "<|im_end|>", "<|end|>", "<|assistant|>", "<s>", "</s>", "<|x|>", "<tool_call>"):
        for i, message in enumerate(MESSAGES):
            messages = [*MESSAGES[:i], {**message, "content": f"a{name}{name} b {name}"}, *MESSAGES[i + 1 :]]
            segments = segments_of(templates[kind], messages)
            assert [segment for segment in segments if segment.control] == plain
            assert text_of(segments) == rendered(KINDS[kind], messages)


def test_reasoning_in_a_message_is_what_the_template_makes_of_it(templates):
    thinking = [*MESSAGES[:2], {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nA1"}]
    segments = segments_of(templates["think"], thinking)
    assert learnt_of(segments) == ["<think>\nwhy\n</think>\n\nA1<|im_end|>"]
    assert [s.text for s in segments if s.control and s.weight] == ["<think>", "</think>", "<|im_end|>"]
    again = [*thinking, {"role": "user", "content": "Q </think>"}, MESSAGES[4]]
    segments = segments_of(templates["think"], again)
    assert text_of(segments) == rendered(REASONING, again)
    assert learnt_of(segments) == ["A1<|im_end|>", "<think>\n\n</think>\n\n\nA2<|im_end|>"]
    assert Segment("user\nQ </think>") in segments


def test_markup_that_a_template_looks_for_only_together_is_found():
    text = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content if '<think>' in m.content or '</think>' in m.content "
        "else '<think></think>' ~ m.content }}{% endfor %}"
    )
    messages = [MESSAGES[1], {"role": "assistant", "content": "<think>why</think>A"}]
    segments = segments_of(ChatTemplate(text, markup_tokens=MARKUP), messages)
    assert text_of(segments) == rendered(text, messages)
    assert learnt_of(segments)[0].endswith("why</think>A")


def test_tools_and_calls_are_those_of_transformers(templates):
    tool = {"type": "function", "function": {"name": "weather", "description": "é <b>"}}
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
    messages = [
        MESSAGES[1],
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "Rain?"},
        {"role": "tool", "content": "rain"},
        MESSAGES[2],
        MESSAGES[3],
        MESSAGES[4],
    ]
    segments = segments_of(templates["think"], messages, tools=[tool])
    assert text_of(segments) == rendered(REASONING, messages, tools=[tool])
    called = '\n<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call><|im_end|>'
    assert learnt_of(segments) == [called, "A1 <|im_end|>", "<think>\n\n</think>\n\n\nA2<|im_end|>"]


def test_a_conversation_that_begins_with_the_assistant_is_told_apart(templates):
    for kind in ("chatml", "marked"):
        assert learnt_of(segments_of(templates[kind], [MESSAGES[2], *MESSAGES[1:3]])) == ["A1 <|im_end|>"] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_train_on_are_honoured(kind, templates):
    weighted = [*MESSAGES[:2], {**MESSAGES[2], "weight": 0.5}, MESSAGES[3], {**MESSAGES[4], "train": False}]
    segments = segments_of(templates[kind], weighted)
    assert {segment.weight for segment in segments} == {0.0, 0.5}
    assert learnt_of(segments) == LEARNT[kind][:1]
    assert learnt_of(segments_of(templates[kind].training_on("last"), MESSAGES)) == LEARNT[kind][1:]


def test_equal_answers_are_told_apart(templates):
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "A"}] * 3
    for kind in KINDS:
        assert len(learnt_of(segments_of(templates[kind], turns))) == 3


def test_a_long_conversation_is_rendered_turn_by_turn(templates):
    turns = [MESSAGES[1], MESSAGES[2]] * 40
    assert learnt_of(segments_of(templates["think"], turns)) == [
        *["A1 <|im_end|>"] * 39,
        "<think>\n\n</think>\n\nA1 <|im_end|>",
    ]


def test_a_template_survives_pickling(templates):
    for template in templates.values():
        copy = pickle.loads(pickle.dumps(template))
        assert copy == template
        assert copy.documents({"messages": MESSAGES}) == template.documents({"messages": MESSAGES})
    assert len({template.fingerprint for template in templates.values()}) == len(templates)


def test_a_clock_does_not_change_the_text():
    text = "{{ strftime_now('%d %b %Y') if strftime_now is defined else 'undated' }}{{ messages[0].content }}"
    assert text_of(segments_of(ChatTemplate(text), [MESSAGES[1]])) == "undated Q1"
    assert text_of(segments_of(ChatTemplate(text, date="2026-01-31"), [MESSAGES[1]])) == "31 Jan 2026 Q1"


def test_a_template_that_needs_the_day_asks_for_it():
    message = refused(ChatTemplate("{{ strftime_now('%d') }}"), [MESSAGES[1]])
    assert message.endswith('; give ChatTemplate(..., date="2026-01-31") a day of yours')


def test_variables_reach_the_template():
    text = "{{ 'on' if enable_thinking else 'off' }}{{ messages[0].content }}"
    assert text_of(segments_of(ChatTemplate(text, variables={"enable_thinking": True}), [MESSAGES[1]])) == "on Q1"


def test_special_tokens_are_those_that_are_named():
    template = ChatTemplate("[INST]{{ messages[0].content }}<|x|>", control_tokens=["[INST]"])
    assert segments_of(template, [MESSAGES[1]]) == [Segment("[INST]", control=True), Segment(" Q1<|x|>")]


def test_a_template_that_refuses_a_record_is_quoted(templates):
    assert "it says 'roles must alternate'" in refused(templates["inst"], [MESSAGES[2], MESSAGES[1]])


def test_a_template_that_leaves_something_out_is_refused(templates):
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": {}}]}
    assert 'leaves out the call of "weather" at 1' in refused(templates["chatml"], [MESSAGES[1], call])
    assert 'leaves out the tool "f"' in refused(templates["chatml"], MESSAGES, tools=[{"name": "f"}])
    answers = ChatTemplate("{% for m in messages if m.role == 'assistant' %}{{ m.content }}{% endfor %}")
    assert "leaves out the system text or the message of the system at 0" in refused(answers, MESSAGES)


def test_turns_that_cannot_be_told_apart_are_named():
    shuffled = (
        "{% for m in messages | sort(attribute='content') %}{{ m.content | length }}|{{ m.content }}|{% endfor %}"
    )
    assert "turn 4 cannot be told from the text around it" in refused(ChatTemplate(shuffled), MESSAGES)


def test_content_that_is_null_is_never_the_word_none():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {}}]}
    template = ChatTemplate(
        "{% for m in messages %}<|{{ m.role }}|>{% if m['content'] is none %}{{ m.content }}{{ m.tool_calls }}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    assert "None" not in text_of(segments_of(template, [MESSAGES[1], call]))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("{% if %}", {}, "TemplateSyntaxError"),
        ("{{ bos_token }}", {}, "writes bos_token, which nobody has said"),
        ("{{ eos_token }}", {"bos_token": ""}, "writes eos_token, which nobody has said"),
        (3, {}, "it must be a string"),
        ("", {"date": "today"}, 'date is "today"'),
    ],
)
def test_a_broken_template_is_refused_at_once(text, options, said):
    with pytest.raises(InputError, match=said):
        ChatTemplate(text, **options)


def test_without_jinja_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("fastcollate.templates.jinja.helper.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"install fastcollate\[chat\]"):
        ChatTemplate("x")
