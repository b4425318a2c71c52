"""JSON that is refused, and what is said of it."""

import json

import pytest
from reading import RULE, assert_error, error_of, records


def test_a_broken_line_has_line_and_column(write):
    path = write('{"a": 1}\n\n{"a": 2,}\n')
    error = error_of(path)
    assert (error.path, error.row, error.reason) == (path, 3, "not_json")
    assert str(error).startswith(f"{path}, line 3, column ")
    assert str(error).endswith(f": {RULE}")


def test_a_broken_array_has_line_and_column(write):
    path = write('\n[{"a": 1},\n {"a" 2}]')
    message = f"{path}, line 3, column 7: not JSON (Expecting ':' delimiter, at byte 18 of the file): {RULE}"
    assert_error(path, "not_json", message)
    assert_error(path, "not_json", message, skip=True)


def test_text_that_is_no_json_is_an_error(write):
    path = write("instruction,output\na,b\n")
    message = f"{path}, line 1, column 1: not JSON (Expecting value): {RULE}"
    assert_error(path, "not_json", message)


def test_a_web_page_is_called_one(write):
    path = write("\n<!DOCTYPE html>\n")
    assert_error(path, "not_json", f"{path}, line 2: not JSON (it looks like an HTML page): {RULE}")


@pytest.mark.parametrize(
    "content", ['{\n "a": 1\n}\n', '{"a": 1,\n "b": 2}', '{"a": 1,\n"b": 2}\n{"a": 2,\n"b": 1}']
)
@pytest.mark.parametrize("skip", [False, True])
def test_objects_over_several_lines_ask_for_one_line_each(write, content, skip):
    path = write(content)
    message = (
        f"{path}: holds one JSON object spread over several lines, or several such: {RULE}; "
        f"put [ and ] around it, or write each object on one line, by jq -c . {path} > records.jsonl"
    )
    assert_error(path, "not_json", message, skip=skip)


@pytest.mark.parametrize("key", ["data", "rows"])
@pytest.mark.parametrize(
    "content", ['{"n": 2, "KEY": [{"a": 1}, {"a": 2}]}', '{\n"KEY": [\n{"a": 1},\n{"a": 2}]}']
)
def test_an_object_that_wraps_the_records_says_how_to_take_them_out(write, key, content):
    path = write(content.replace("KEY", key))
    message = (
        f'{path}: holds one JSON object, whose key "{key}" holds the records: take them out by '
        f"jq -c '.{key}[]' {path} > records.jsonl"
    )
    assert_error(path, "not_json", message)
    assert_error(path, "not_json", message, skip=True)


def test_one_conversation_alone_is_a_record(write):
    record = {"messages": [{"role": "user", "content": "a"}]}
    assert records(write(json.dumps(record))) == [record]


def test_lines_with_commas_are_told_to_lose_them(write):
    path = write('{"a": 1},\n{"a": 2},\n')
    hint = "a comma after the object, as in an array: take these out, by sed 's/,[[:space:]]*$//'"
    assert_error(path, "not_json", f"{path}, line 1: not JSON ({hint}): {RULE}")


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, '{"a": ' * 257 + "1" + "}" * 257])
def test_deep_nesting_is_an_error(write, value):
    why = f"not JSON (nested too deeply, in more than 256 levels): {RULE}"
    lines = write(f'{{"a": {value}}}\n{{"a": 1}}')
    assert_error(lines, "not_json", f"{lines}, line 1: {why}")
    assert records(lines, skip=True) == [{"a": 1}]
    array = write(f'[{{"a": {value}}}, {{"a": 1}}]', "array.json")
    assert_error(array, "not_json", f"{array}, record 0: {why}")
    assert records(array, skip=True) == [{"a": 1}]


def test_a_number_of_too_many_digits_is_an_error(write):
    assert error_of(write('{"a": ' + "1" * 5000 + "}")).reason == "not_json"
