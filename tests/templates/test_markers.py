import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import InputError
from fastcollate.templates.markers import Marked
from fastcollate.templates.named import load_template
from fastcollate.templates.segments import Segment

HUMAN, BOT = "\n\nHuman:", "\n\nAssistant:"
TALK = "\n\nHuman: Q1\n\nAssistant: A1\n\nHuman: Q2\n\nAssistant: A2"


def segments_of(record: dict, template: str = "text", prompt_marker: str | None = HUMAN) -> list[Segment]:
    (document,) = Marked(load_template(template), BOT, prompt_marker).documents(record)
    return list(document.segments)


def learnt_of(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments if segment.weight]


def test_what_follows_a_response_marker_is_learnt_up_to_the_next_prompt_marker():
    segments = segments_of({"text": TALK})
    assert "".join(segment.text for segment in segments) == TALK
    assert learnt_of(segments) == [" A1", " A2"]


def test_without_a_prompt_marker_answers_go_on_but_markers_are_not_learnt():
    assert learnt_of(segments_of({"text": TALK}, prompt_marker=None)) == [" A1\n\nHuman: Q2", " A2"]


def test_a_text_without_a_response_marker_is_not_learnt():
    assert learnt_of(segments_of({"text": "\n\nHuman: Q1"})) == []


def test_a_prompt_that_ends_with_the_marker_begins_an_answer():
    record = {"prompt": "\n\nHuman: Q1\n\nAssistant:", "completion": " A1\n\nHuman: Q2\n\nAssistant: A2"}
    assert learnt_of(segments_of(record, "prompt_completion")) == [" A1", " A2"]


def test_a_pair_of_transcripts_is_learnt_by_markers_and_refused_without():
    record = {"chosen": TALK + "!", "rejected": TALK + "?"}
    pair = Marked(load_template("preference"), BOT, HUMAN).documents(record)
    assert [learnt_of(list(document.segments)) for document in pair] == [[" A1", " A2!"], [" A1", " A2?"]]
    assert [document.group for document in pair] == [0, 0]
    with pytest.raises(InputError, match="--response-marker") as caught:
        load_template("preference").documents(record)
    assert caught.value.reason == "missing_field"


@given(st.lists(st.sampled_from(["Q", " ", "a", "b", "ab", "Qa"])).map("".join), st.sampled_from(["a", "ab", "Q"]))
def test_markers_are_found_as_a_loop_finds_them(text, prompt_marker):
    template = Marked(load_template("text"), "b", prompt_marker)
    (document,) = template.documents({"text": text})
    weights, learning, i = [], False, 0
    while i < len(text):
        marker = next((m for m in sorted(("b", prompt_marker), key=len)[::-1] if text.startswith(m, i)), None)
        learning = learning if marker is None else marker == "b"
        step = 1 if marker is None else len(marker)
        weights += [float(learning and marker is None)] * step
        i += step
    assert "".join(segment.text for segment in document.segments) == text
    assert [segment.weight for segment in document.segments for _ in segment.text] == weights


@pytest.mark.parametrize("markers", [("", None), (3, None), (None, "a"), ("a", ""), ("a", "a")])
def test_markers_that_mark_nothing_are_refused(markers):
    with pytest.raises(InputError):
        Marked(load_template("text"), *markers)


def test_tokens_have_no_markers():
    with pytest.raises(InputError, match="the record holds tokens"):
        Marked(load_template("tokens"), BOT).documents({"input_ids": [1]})


def test_a_marked_template_is_pickled_and_told_apart():
    template = Marked(load_template("text"), BOT, HUMAN)
    copy = pickle.loads(pickle.dumps(template))
    assert copy == template
    others = [load_template("text"), template, Marked(load_template("text"), BOT)]
    assert len({other.fingerprint for other in others}) == 3
    assert (template.name, template.keys) == ("text", {"text"})
