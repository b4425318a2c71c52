import pickle

import pytest
from filled import segments_of, text_of
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import InputError
from fastcollate.templates.fields import Part, PromptTemplate
from fastcollate.templates.segments import Segment

SENTENCE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
RECORD = {"instruction": "Add.", "input": "2, 2", "output": "4"}


def learned(segments: list[Segment]) -> str:
    assert {segment.weight for segment in segments} <= {0.0, 1.0}
    return "".join(segment.text for segment in segments if segment.weight)


def message_of(template: PromptTemplate, record: dict, fields: dict | None = None) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        (template if fields is None else template.renamed(fields)).documents(record)
    assert "\n" not in str(caught.value)
    return caught.value.reason, str(caught.value)


def test_alpaca_learns_its_response_header():
    segments = segments_of("alpaca", RECORD)
    assert text_of(segments) == (SENTENCE + "\n\n### Instruction:\nAdd.\n\n### Input:\n2, 2\n\n### Response:\n4")
    assert learned(segments) == "\n\n### Response:\n4"


@pytest.mark.parametrize("absent", [{}, {"input": None}, {"input": ""}, {"input": float("nan")}])
def test_alpaca_leaves_an_empty_input_out(absent):
    segments = segments_of("alpaca", {"instruction": "Hi.", "output": "Yo", **absent})
    assert text_of(segments) == SENTENCE + "\n\n### Instruction:\nHi.\n\n### Response:\nYo"


def test_stanford_alpaca_learns_the_output_only():
    segments = segments_of("stanford_alpaca", RECORD)
    assert text_of(segments) == (PAIRED + "\n\n### Instruction:\nAdd.\n\n### Input:\n2, 2\n\n### Response:\n4")
    assert learned(segments) == "4"


def test_stanford_alpaca_without_input_has_the_short_sentence():
    segments = segments_of("stanford_alpaca", {"instruction": "Hi.", "output": "Yo"})
    assert text_of(segments) == SENTENCE + "\n\n### Instruction:\nHi.\n\n### Response:\nYo"


def test_prompt_completion_puts_nothing_between():
    segments = segments_of("prompt_completion", {"prompt": "a", "completion": "b"})
    assert segments == [Segment("a", 0.0), Segment("b", 1.0)]


def test_text_learns_everything():
    assert segments_of("text", {"text": "abc"}) == [Segment("abc", 1.0)]


def test_a_required_field_may_be_an_empty_string():
    assert segments_of("text", {"text": ""}) == [Segment("", 1.0)]


def test_braces_in_data_are_data():
    record = {"prompt": "{completion} {0} {{x}}", "completion": "{prompt.__class__}"}
    assert text_of(segments_of("prompt_completion", record)) == ("{completion} {0} {{x}}{prompt.__class__}")


def test_double_braces_in_a_template_are_braces():
    template = PromptTemplate("t", (Part("{{{a}}} {{a}}"),))
    assert segments_of(template, {"a": "x"}) == [Segment("{x} {a}", 0.0)]


def test_fields_rename_keys_of_the_record():
    template = PromptTemplate.named("alpaca").renamed({"instruction": "question", "output": "answer"})
    segments = segments_of(template, {"question": "Why?", "answer": "So."})
    assert text_of(segments) == SENTENCE + "\n\n### Instruction:\nWhy?\n\n### Response:\nSo."
    again = segments_of(template.renamed({"output": "reply"}), {"question": "Why?", "reply": "So."})
    assert again == segments


def test_a_field_is_optional_only_where_every_mention_depends_on_it():
    template = PromptTemplate("t", (Part("{a}", when="a"), Part("{b}", when="b"), Part("{b}", unless="c")))
    assert (template.required, template.optional) == (("b",), ("a", "c"))


def test_a_template_survives_pickling():
    template = PromptTemplate.named("stanford_alpaca")
    copy = pickle.loads(pickle.dumps(template))
    assert copy == template
    assert copy.documents(RECORD) == template.documents(RECORD)


def test_a_missing_field_is_named_with_what_the_record_has():
    reason, message = message_of(PromptTemplate.named("alpaca"), {"question": "a", "answer": "b"})
    assert reason == "missing_field"
    assert message == (
        'field "instruction" is missing (the record has "question", "answer"): template "alpaca" needs it in '
        'every record; add it, or say which key holds it with fields={"instruction": ...} '
        "(--fields instruction=...)"
    )


def test_an_empty_record_says_so():
    reason, message = message_of(PromptTemplate.named("text"), {})
    assert reason == "missing_field"
    assert message.startswith('field "text" is missing (the record is empty): ')


def test_a_null_field_is_missing():
    reason, message = message_of(PromptTemplate.named("text"), {"body": None}, fields={"text": "body"})
    assert reason == "missing_field"
    assert message.startswith('field "body" is null: template "text" needs it in every record')


@pytest.mark.parametrize("name", ["instruction", "input", "output"])
def test_a_field_of_another_type_is_refused_even_if_optional(name):
    assert message_of(PromptTemplate.named("alpaca"), {**RECORD, name: 5}) == (
        "not_string",
        f'field "{name}" is of type int (5): template "alpaca" takes strings; convert it first',
    )


def test_nan_in_a_required_field_is_a_missing_one():
    reason, message = message_of(PromptTemplate.named("text"), {"text": float("nan")})
    assert reason == "missing_field"
    assert message.startswith('field "text" is NaN: template "text" needs it in every record')


def test_a_blank_input_is_an_input():
    segments = segments_of("alpaca", {"instruction": "Do", "input": " ", "output": "Done"})
    assert "\n\n### Input:\n \n\n### Response:" in text_of(segments)


def test_a_percent_sign_in_a_template_is_a_percent_sign():
    template = PromptTemplate("t", (Part("100%s {a}%", supervised=True), Part("{b}%d", when="b")))
    assert segments_of(template, {"a": "%s", "b": ""}) == [Segment("100%s %s%", 1.0)]
    assert text_of(segments_of(template, {"a": "%s", "b": "1"})) == "100%s %s%1%d"


@given(
    st.lists(
        st.builds(
            Part,
            st.lists(st.sampled_from(["x", "%", "{{", "{a}", "{b}", "{c}"]), max_size=4).map("".join),
            supervised=st.booleans(),
            when=st.sampled_from([None, "a", "b"]),
            unless=st.sampled_from([None, "b", "c"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.fixed_dictionaries({key: st.sampled_from(["", "%s", "{a}", "v"]) for key in "abc"}),
)
def test_parts_are_written_as_a_loop_writes_them(parts, record):
    expected = [("", 0.0)]
    for part in parts:
        if (part.when and not record[part.when]) or (part.unless and record[part.unless]):
            continue
        text = "".join(literal + record.get(name, "") for literal, name in part.pieces)
        expected += [(letter, float(part.supervised)) for letter in text]
    found = segments_of(PromptTemplate("t", tuple(parts)), record)
    assert [(letter, segment.weight) for segment in found for letter in segment.text] == expected[1:]


def test_a_long_value_is_cut_in_the_message():
    _, message = message_of(PromptTemplate.named("text"), {"text": ["line\n"] * 1000})
    assert len(message) < 200


def test_an_unknown_field_in_the_mapping_names_the_known_ones():
    reason, message = message_of(PromptTemplate.named("alpaca"), RECORD, fields={"outptu": "answer"})
    assert reason == "unknown_field"
    assert message == (
        'template "alpaca" has no field "outptu": fields= maps the template\'s own names '
        '(instruction, output, input) to keys of the records; did you mean "output"?'
    )


def test_a_mapping_to_no_string_is_refused():
    assert message_of(PromptTemplate.named("text"), {}, fields={"text": 3}) == (
        "unknown_field",
        'fields["text"] is 3: it must be a key of the records, a string',
    )


def test_an_unknown_template_suggests_a_near_one():
    with pytest.raises(InputError) as caught:
        PromptTemplate.named("alpca")
    assert str(caught.value) == (
        'template "alpca" is unknown: use one of alpaca, dolly, orca, prompt_completion, question_answer, '
        'stanford_alpaca, text, or a PromptTemplate of your own; did you mean "alpaca"?'
    )


@pytest.mark.parametrize("text", ["{a.b}", "{a[0]}", "{a!r}", "{a:>5}", "{}", "{0}", "{a b}", "{a:{b}}"])
def test_only_plain_names_go_between_braces(text):
    with pytest.raises(InputError, match=r"is not a plain name .* write {field}, without attribute"):
        Part(text)


@pytest.mark.parametrize("text", ["{", "}", "{a", "a}b", None])
def test_unbalanced_braces_are_refused(text):
    with pytest.raises(InputError, match=r"is broken .* double a brace to mean the brace itself"):
        Part(text)


@pytest.mark.parametrize("condition", [{"when": ""}, {"unless": "a.b"}, {"when": 3}])
def test_conditions_take_plain_names(condition):
    with pytest.raises(InputError, match="when= and unless= take one plain name"):
        Part("x", **condition)


def test_a_template_needs_a_part():
    with pytest.raises(InputError, match='template "t" has no parts: give at least one Part'):
        PromptTemplate("t", ())


def test_a_fingerprint_changes_with_whatever_changes_the_text():
    template = PromptTemplate("t", (Part("{a}"), Part("{b}", supervised=True, when="b")))
    others = [
        PromptTemplate("u", template.parts),
        PromptTemplate("t", template.parts[:1]),
        PromptTemplate("t", (Part("{a} "), template.parts[1])),
        PromptTemplate("t", (template.parts[0], Part("{b}", when="b"))),
        PromptTemplate("t", (template.parts[0], Part("{b}", supervised=True))),
        PromptTemplate("t", (template.parts[0], Part("{b}", supervised=True, unless="b"))),
        template.renamed({"a": "c"}),
    ]
    assert len({template.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1
    assert template.renamed({"a": "c"}).renamed({"a": "a"}).fingerprint == template.fingerprint
    assert PromptTemplate.named("alpaca").fingerprint == (
        "20ea2d6e2913543ed5e6023edf10615b543ea2547de481e637599128313418a1"
    )
