import pytest

from fastcollate.errors import InputError
from fastcollate.templates.detect import detect
from fastcollate.templates.named import TEMPLATE_NAMES

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
OTHER = {"role": "assistant", "content": "B"}


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca"),
        (
            {"instruction": "a", "input": None, "output": "b", "history": [], "chosen": "c", "rejected": "d"},
            "alpaca",
        ),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"question": "a", "answer": "b"}, "question_answer"),
        ({"text": "a", "url": "b"}, "text"),
        ({"messages": TURNS, "prompt": "Q", "prompt_id": "7"}, "chatml"),
        ({"conversations": TURNS, "tools": "[]", "system": "S"}, "chatml"),
        ({"conversation": TURNS}, "chatml"),
        ({"messages": TURNS, "conversation": "number 7"}, "chatml"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"chosen": TURNS, "rejected": [TURNS[0], OTHER]}, "preference"),
        ({"conversations": TURNS, "chosen": TURNS[1], "rejected": OTHER}, "preference"),
        ({"instruction": "a", "instances": [{"input": "", "output": "b"}]}, "instances"),
        ({"instruction": "a", "context": "", "response": "b", "category": "c"}, "dolly"),
        ({"input_ids": [1], "labels": [1], "attention_mask": [1]}, "tokens"),
        ({"text": "a", "messages": float("nan")}, "text"),
    ],
)
def test_a_shape_is_told_by_its_keys(record, name):
    found = detect([record])
    assert found.template.name == name
    assert name in TEMPLATE_NAMES
    assert found.template.documents(record)
    assert found.line.startswith(f"template: {name}, told by ")
    assert "--template" in found.line


def test_the_shape_that_most_records_have_is_taken():
    assert (
        detect([{"txt": "a"}, {"text": "b"}, {"text": "c", "prompt": "d", "completion": "e"}]).template.name
        == "text"
    )


def test_a_record_that_fits_no_shape_shows_its_keys_and_the_nearest():
    with pytest.raises(InputError) as caught:
        detect([{"question": "a", "reply": "b"}])
    assert caught.value.reason == "unknown_shape"
    assert str(caught.value) == (
        'the record fits no template (the record has "question", "reply"): the nearest are question_answer '
        "(question, answer) or orca (question, response); say which with template= (--template), and which keys "
        "hold its fields with fields= (--fields)"
    )


def test_a_record_that_fits_several_shapes_names_them():
    with pytest.raises(InputError) as caught:
        detect([{"instruction": "a", "output": "b", "text": "c"}])
    assert caught.value.reason == "unknown_shape"
    assert str(caught.value) == (
        "the record fits several templates: alpaca (instruction, output) and text (text) (the record has "
        '"instruction", "output", "text"): say which with template= (--template)'
    )


def test_a_text_that_the_fields_were_written_into_leaves_no_choice_unless_it_is_another_here_and_there():
    repeated = {"instruction": "ask", "output": "say", "text": "ask: say"}
    assert detect([repeated] * 9 + [{**repeated, "text": "other"}]).template.name == "alpaca"
    with pytest.raises(InputError, match=r"fits several templates: alpaca .* and text"):
        detect([repeated] + [{**repeated, "text": "other"}] * 99)


def test_no_records_are_an_error():
    with pytest.raises(InputError) as caught:
        detect([])
    assert caught.value.reason == "empty"
