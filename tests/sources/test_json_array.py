"""An array of any size is read as `json` reads it whole, in blocks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import RULE, addresses, assert_error, error_of, read, records

from fastcollate.errors import LimitError
from fastcollate.sources.formats import json_array


@pytest.fixture(autouse=True, params=[7, 64, 1 << 22])
def block(monkeypatch, request):
    monkeypatch.setattr(json_array, "_BLOCK_BYTES", request.param)


VALUES = st.recursive(
    st.text(st.sampled_from('"\\{}[],: \nab')) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{", max_size=2), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.text("ab}{", max_size=2), VALUES, max_size=3), min_size=1, max_size=6)


@given(RECORDS, st.sampled_from([None, 0, 2]), st.integers(1, 4))
def test_an_array_is_what_json_reads(tmp_path_factory, rows, indent, size):
    path = tmp_path_factory.mktemp("array") / "data.json"
    path.write_text(json.dumps(rows, indent=indent))
    chunks = read(path, size=size)
    assert [record for chunk in chunks for record in chunk.records] == rows
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == list(range(len(rows)))
    assert all(len(chunk.records) <= size for chunk in chunks)


@given(RECORDS, st.data())
def test_an_array_cut_anywhere_is_an_error_also_where_bad_records_are_skipped(tmp_path_factory, rows, data):
    text = json.dumps(rows)
    cut = data.draw(st.integers(1, len(text) - 1))
    path = tmp_path_factory.mktemp("array") / "data.json"
    path.write_text(text[:cut])
    error = error_of(path, skip=True)
    assert error.reason == "damaged"
    assert f"cut short at byte {cut} of the file" in str(error)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ('[{"a": 1}\n {"a": 2}]', (2, 2, 11), "Extra data"),
        ('[{"a": 1},\n]', (2, 1, 11), "Expecting value"),
        ('[{"a": 1},, {"a": 2}]', (1, 11, 10), "Expecting value"),
        ('[{"a": 1}]\n[{"a": 2}]', (2, 1, 11), "Extra data after the array"),
        ('[{"é": 1}, {"é" 1}]', (1, 17, 18), "Expecting ':' delimiter"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_what_breaks_an_array_has_line_column_and_byte(write, text, place, why, skip):
    line, column, byte = place
    path = write(text)
    message = f"{path}, line {line}, column {column}: not JSON ({why}, at byte {byte} of the file): {RULE}"
    assert_error(path, "not_json", message, skip=skip)


def test_bad_elements_are_skipped_and_named(write):
    path = write(r'[{"a": 1}, {"a": 1, "a": 2}, 7, {"a": "\ud83d"}, {"a": 2}]')
    (chunk,) = read(path, skip=True)
    assert (chunk.rows.tolist(), chunk.records) == ([0, 4], [{"a": 1}, {"a": 2}])
    assert [(row.row, row.reason, row.record) for row in chunk.rejected] == [
        (1, "duplicate_key", ' {"a": 1, "a": 2}'),
        (2, "not_object", 7),
        (3, "not_text", r' {"a": "\ud83d"}'),
    ]
    assert [row.message.partition(": ")[0] for row in chunk.rejected] == [f"{path}, record {i}" for i in (1, 2, 3)]
    assert addresses(chunk) == [f"{path}, record 0", f"{path}, record 4"]


def test_an_element_that_is_too_large_is_an_error_without_reading_it_whole(write, monkeypatch):
    monkeypatch.setattr(json_array, "MOST_BYTES", 2000)
    path = write(json.dumps([{"a": "b"}, {"a": "c" * 9000}, {"a": "d"}]))
    monkeypatch.setattr(json_array, "_BLOCK_BYTES", 500)
    with pytest.raises(LimitError, match=r"data\.json, record 1: has more than 0 MiB, the most of a record"):
        read(path)
    assert records([path, write('{"a": 1}', "other.json")], skip=True, size=1) == [{"a": "b"}, {"a": 1}]


def test_a_list_of_turns_is_a_conversation(write):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    pairs = [{"from": "human", "value": "a"}]
    wanted = [{"messages": turns}, {"conversations": pairs}]
    assert records(write(json.dumps([turns, pairs]))) == wanted
    assert records(write(f"{json.dumps(turns)}\n{json.dumps(pairs)}\n", "lines.jsonl")) == wanted
    assert records([turns, pairs]) == wanted
