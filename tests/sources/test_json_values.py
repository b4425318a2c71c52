"""Both parsers give the same values, and refuse the same, as `json` does with every check."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastcollate.sources.formats import json_values
from fastcollate.sources.formats.json_values import UnreadableError, load_all, load_each, load_elements, load_lines


@pytest.fixture(scope="module", params=["orjson", "json"], autouse=True)
def parser(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "json":
            patch.setattr(json_values, "_parser", lambda: json_values._load_plainly)
        else:
            pytest.importorskip("orjson")
        yield request.param


class TwiceError(ValueError):
    pass


def oracle(piece):
    """The value by `json` alone; None for what must be refused."""

    def members(pairs):
        if len(dict(pairs)) < len(pairs):
            raise TwiceError
        return dict(pairs)

    try:
        value = json.loads(piece.decode(), object_pairs_hook=members)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return None
    return shown(value)


def shown(value):
    """What equals only the same: 1 is not 1.0, NaN is NaN."""
    return repr(value)


def by_ours(piece):
    (value,) = load_each([piece])
    return None if isinstance(value, UnreadableError) else shown(value)


STRINGS = st.text(st.sampled_from(':",[]{}\\ \n\tab0é😀\x00'), max_size=6)
ESCAPED = st.sampled_from([r'"\ud83d"', r'"\ud83d\ude00"', r'"\ude00x"', '"' + "9" * 25 + '"', r'"\u0041"'])
NUMBERS = st.sampled_from(
    ["0", "-0", "1.50", "1e5", "1e999", "-1e999", "NaN", "-Infinity", "9" * 18, "9" * 19, "-" + "9" * 19]
) | st.integers(-(10**25), 10**25).map(str)
BLANKS = st.sampled_from(["", "", "", " ", "\t", " \r ", "  "])


@st.composite
def texts(draw, depth=2):
    """JSON as people write it, with whatever may go wrong in it."""
    kinds = ["string", "escaped", "number"] + ["object", "list"] * (depth > 0)
    kind = draw(st.sampled_from(kinds))
    if kind == "string":
        return json.dumps(draw(STRINGS), ensure_ascii=draw(st.booleans()))
    if kind == "escaped":
        return draw(ESCAPED)
    if kind == "number":
        return draw(NUMBERS)
    parts = draw(st.lists(texts(depth=depth - 1), max_size=3))
    blank = draw(BLANKS)
    if kind == "list":
        return "[" + f"{blank},".join(parts) + blank + "]"
    keys = [json.dumps(draw(STRINGS)) for _ in parts]
    return "{" + f",{blank}".join(f"{key}{blank}:{part}" for key, part in zip(keys, parts, strict=True)) + "}"


def objects():
    pairs = st.tuples(STRINGS | st.sampled_from("ab"), texts(depth=1))
    return st.lists(pairs, max_size=4).map(
        lambda pairs: "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in pairs) + "}"
    )


@given(texts())
@example('{"a": ": b", "a:": "\\": c", "d,": "e\\\\"}')
@example('{"\\\\": 1, "\\\\": 2}')
@example("[1")
@example("")
def test_a_value_is_what_json_makes_of_it(text):
    assert by_ours(text.encode()) == oracle(text.encode())


@given(st.lists(objects() | texts(), min_size=1, max_size=5))
@example(['{"a": [1', "2]}"])
@example(['{"a": "x', '{y"},{"b": 1}'])
@example(['{"a":[{}', "{}]}", '{"x":1},{"y":2}'])
def test_lines_read_together_are_those_read_alone(lines):
    pieces = [line.encode() for line in lines]
    alone = [oracle(piece) for piece in pieces]
    for together in (load_lines("\n".join(lines).encode()), load_all(pieces)):
        assert together is None or list(map(shown, together)) == alone
    elements = ",\n".join(lines).encode()
    together = load_elements(elements)
    assert together is None or shown(together) == oracle(b"[%b]" % elements)


def test_ordinary_records_are_read_together():
    flat = [{"a": 'x: "y": {z} [1, ', "b:": 1, "c": None}, {"a": ": b", "number": "1" * 30}]
    nested = [{"messages": [{"role": "user", "content": 'a {"b": [1]}'}], "n": 1.5}]
    for records in (flat, nested, flat + nested):
        lines = [json.dumps(record).encode() for record in records]
        assert load_all(lines) == records
        assert load_elements(b", ".join(lines)) == records
    assert load_lines(b"\n".join(json.dumps(record).encode() for record in flat)) == flat


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1, "a": 2}',
        b'{"a" : 1, "a" : 2}',
        b'{"a" : 1, "a": 2}',
        b'{"a"\t:1, "b": "\\":", "b": 1}',
        b'{"a" : ":", "a": 1}',
        b'{"a": ":", "a": 1}',
        b'{"a" :1},',
        b'{"a": "x\n{"}\n{"b": 1},{"c": 2}',
        b'{"a": "x\n"}\n{"b": 1},{"c": 2}',
    ],
)
def test_lines_that_are_other_than_they_look_are_not_read_together(line):
    plain = b'{"a": ":", "b": "\\":", "c": " : "}'
    assert load_lines(plain + b"\n" + plain) == 2 * [{"a": ":", "b": '":', "c": " : "}]
    assert load_lines(line + b"\n" + plain) is None


@pytest.mark.parametrize(
    ("text", "reason", "why"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "duplicate_key", 'the key "c" stands twice in one object'),
        (r'{"a": ["\ud83d"]}', "not_text", r"the escape \ud83d is half of a character"),
        (r'{"\ude00": 1}', "not_text", r"the escape \ude00 is half of a character"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "not_json", "nested too deeply, in more than 256 levels"),
        ('{"a": ' + "[" * 10**5 + "]" * 10**5 + "}", "not_json", "nested too deeply, in more than 256 levels"),
        ('{"a": ' + "1" * 5000 + "}", "not_json", "an integer has more digits than any number"),
        ('{"a": 1,}', "not_json", "double quotes"),
    ],
)
def test_what_would_be_lost_or_altered_is_refused(text, reason, why):
    (found,) = load_each([text.encode()])
    assert isinstance(found, UnreadableError)
    assert found.reason == reason
    assert why in str(found)


def test_255_levels_are_read():
    text = ('{"a": ' * 255 + "1" + "}" * 255).encode()
    assert [type(value) for value in load_each([text])] == [dict]


def test_numbers_are_exact():
    values = load_each([b'{"a": NaN, "b": 1e999, "c": 123456789012345678901234567890, "d": -9223372036854775809}'])
    (record,) = values
    assert math.isnan(record["a"])
    assert (record["b"], record["c"], record["d"]) == (math.inf, 123456789012345678901234567890, -(2**63) - 1)
    assert type(record["d"]) is int


@pytest.mark.parametrize("beside", ["[]", "7", '"x"', "null"])
def test_lines_that_hold_more_and_less_than_one_value_are_looked_at_alone(beside):
    assert load_lines(b'{"a": 1},%b\n{"a": [1\n{}]}\n' % beside.encode()) is None
