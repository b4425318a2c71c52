"""The texts of many records at once are those of each alone."""

from itertools import accumulate

import numpy as np
from filled import segments_of, text_of
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import InputError
from fastcollate.templates.fields import Part, PromptTemplate
from fastcollate.templates.segments import Segment

CONDITIONAL = PromptTemplate(
    "conditional",
    (
        Part("<{a}>", unless="b"),
        Part("{b}%s ", supervised=True, when="b"),
        Part("{{%}} ", when="c"),
        Part("{a}é{c}", supervised=True, when="c"),
        Part("[{a}]{b}", when="c", unless="b"),
        Part("{b}?", when="b", unless="c"),
        Part("!"),
    ),
)
VALUES = st.text("ab%é\ud83d", max_size=3)
STRANGE = st.sampled_from([None, float("nan"), 7, ["a"]])


@given(
    st.sampled_from([CONDITIONAL, *map(PromptTemplate.named, ("alpaca", "stanford_alpaca", "text"))]),
    st.data(),
)
def test_many_records_at_once_are_what_each_alone_is(template, data):
    keys = sorted(template.keys)
    fields = dict.fromkeys(keys, VALUES)
    usual = st.fixed_dictionaries(
        dict.fromkeys(template.required, VALUES), optional=dict.fromkeys(template.optional, VALUES)
    )
    odd = st.fixed_dictionaries({}, optional={key: value | STRANGE for key, value in fields.items()})
    records = data.draw(st.lists(usual, min_size=1, max_size=5) | st.lists(usual | odd, min_size=1, max_size=5))
    texts = template.texts(records)
    try:
        each = [segments_of(template, record) for record in records]
    except InputError:
        assert texts is None
        return
    if texts is None:
        # NaN, which is looked at alone
        assert any(isinstance(value, float) for record in records for value in record.values())
        return
    assert texts.texts == [text_of(segments) for segments in each]
    assert texts.offsets.tolist() == [0, *accumulate(map(len, each))]
    flat = [segment for segments in each for segment in segments]
    assert texts.sizes.tolist() == [len(segment.text) for segment in flat]
    assert texts.weights.tolist() == [segment.weight for segment in flat]
    assert (texts.sizes.dtype, texts.weights.dtype, texts.offsets.dtype) == (np.int64, np.float32, np.int64)


def test_a_record_without_any_text_is_looked_at_alone():
    template = PromptTemplate("maybe", (Part("{a}", when="a"),))
    assert template.texts([{"a": "x"}, {"a": ""}]) is None
    assert template.texts([{"a": "x"}]).texts == ["x"]


def test_a_template_without_fields_is_written_record_by_record():
    template = PromptTemplate("same", (Part("always", supervised=True),))
    assert template.texts([{"text": "a"}]) is None
    assert segments_of(template, {"text": "a"}) == [Segment("always", 1.0)]
