import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import RULE, addresses, assert_error, content, error_of, read, records

from fastcollate.errors import InputError
from fastcollate.sources.resolve import resolve

NOTEBOOK = Path(__file__).parents[3] / "shared/data/instruction-data.json"


# What is read


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_content_decides_not_the_name(write, name, bom):
    assert records(write(bom + b' \n[{"a": 1},\n {"a": 2}]', name)) == [{"a": 1}, {"a": 2}]
    assert records(write(bom + b' \n{"a": 1}\r\n\n{"a": 2}', name)) == [{"a": 1}, {"a": 2}]


def test_rows_are_lines_with_the_blank_ones_and_people_count_them_from_one(write):
    path = write('\n{"a": 1}\n\n  \n{"a": 2}\n{"a": 3}\n')
    first, second = read(path, size=5)
    assert content(first) == ([1, 4], [{"a": 1}, {"a": 2}], {})
    assert content(second) == ([5], [{"a": 3}], {})
    assert addresses(first) == [f"{path}, line 2", f"{path}, line 5"]


def test_records_of_an_array_are_numbered_from_zero(write):
    path = write('[{"a": 1}, {"a": 2}]')
    (chunk,) = read(path)
    assert content(chunk) == ([0, 1], [{"a": 1}, {"a": 2}], {})
    assert addresses(chunk) == [f"{path}, record 0", f"{path}, record 1"]


def test_an_iterable_gives_its_dicts():
    (chunk,) = read({"a": i} for i in range(2))
    assert content(chunk) == ([0, 1], [{"a": 0}, {"a": 1}], {})
    assert addresses(chunk) == ["record 0 of the given iterable", "record 1 of the given iterable"]
    assert read([]) == []


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none())), st.integers(1, 4))
def test_every_shape_of_a_source_gives_the_same_records(tmp_path_factory, rows, size):
    path = tmp_path_factory.mktemp("rows") / "data.json"
    assert records(rows, size=size) == rows
    for text in (json.dumps(rows), "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)):
        if rows:
            path.write_text(text, "utf-8", errors="surrogatepass")
            assert records(path, size=size) == rows


def test_a_unicode_line_separator_ends_no_line(write):
    assert records(write('{"a": "x\u2028y\x85z"}\n{"a": NaN}'))[0] == {"a": "x\u2028y\x85z"}


def test_globs_and_lists_are_read_in_order(write, tmp_path):
    write('{"a": 2}', "b.jsonl")
    write('{"a": 1}', "a.jsonl")
    write('[{"a": 3}]', "c.json")
    (tmp_path / "sub.jsonl").mkdir()
    assert records(tmp_path / "*.jsonl") == [{"a": 1}, {"a": 2}]
    assert records([tmp_path / "c.json", str(tmp_path / "[ab].jsonl")]) == [{"a": 3}, {"a": 1}, {"a": 2}]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(write):
    assert records(write('{"a": 1}', "data[1].jsonl")) == [{"a": 1}]


def test_a_pipe_can_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b'{"a": 1}\n{"a": 2}'))
    writer.start()
    assert records(tmp_path / "pipe") == [{"a": 1}, {"a": 2}]
    writer.join()


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="needs the notebook's records")
def test_the_notebooks_records_are_all_there():
    chunks = read(NOTEBOOK, size=1000)
    assert [len(chunk.records) for chunk in chunks] == [1000, 100]


# What is refused


def test_a_missing_file_is_reported_at_the_call(tmp_path):
    path = str(tmp_path / "no.json")
    with pytest.raises(InputError) as caught:
        resolve(path)
    assert (caught.value.reason, str(caught.value)) == ("not_found", f"{path}: no such file: check the path")
    assert caught.value.path == path


def test_a_pattern_without_a_match_is_an_error(tmp_path):
    path = str(tmp_path / "*.json")
    assert_error(path, "not_found", f"{path}: no file matches this pattern: check the path")


def test_a_link_to_nothing_is_unreadable(tmp_path):
    path = tmp_path / "link"
    path.symlink_to(tmp_path / "gone")
    message = f"{path}: cannot be read (No such file or directory): check the path and its permissions"
    assert_error(path, "unreadable", message)


def test_a_forbidden_file_is_unreadable(write, monkeypatch):
    path = write("[]")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    message = f"{path}: cannot be read (Permission denied): check the path and its permissions"
    assert_error(path, "unreadable", message)


def test_a_name_too_long_for_a_file_is_no_file():
    assert error_of("x" * 5000).reason in ("not_found", "unreadable")


@pytest.mark.parametrize("content", ["", " \n\n", "[]", "\ufeff", " [ ] "])
def test_a_file_without_records_is_an_error(write, content):
    path = write(content)
    assert_error(path, "no_records", f"{path}: holds no records (it is empty): {RULE}")


def test_bytes_that_are_no_utf8_have_their_offset(write):
    lines = write(b'\xef\xbb\xbf{"a": 1}\n{"a": "\xe9"}\n')
    message = f"{lines}, line 2: not UTF-8 at byte 19 of the file: save it as UTF-8"
    assert_error(lines, "not_utf8", message)
    array = write(b'\xef\xbb\xbf[{"a": "\xe9"}]', "array.json")
    assert_error(array, "not_utf8", f"{array}, record 0: not UTF-8 at byte 11 of the file: save it as UTF-8")


@pytest.mark.parametrize(("item", "kind"), [("1", "int"), ('"x"', "str"), ("null", "NoneType"), ("[1]", "list")])
def test_what_is_no_object_is_named(write, item, kind):
    tail = f"is of type {kind}, not an object: every record is an object (a dict) of named fields, such as "
    tail += '{"text": "..."}'
    array = write(f'[{{"a": 1}}, {item}]')
    assert_error(array, "not_object", f"{array}, record 1: {tail}")
    lines = write(f'{{"a": 1}}\n{item}\n', "lines")
    assert_error(lines, "not_object", f"{lines}, line 2: {tail}")
    rows = [{"a": 1}, json.loads(item)]
    assert_error(rows, "not_object", f"record 1 of the given iterable: {tail}")


@pytest.mark.parametrize("source", [None, 5, b"data.json", {"text": "a"}])
def test_what_is_no_source_is_refused(source):
    message = (
        f"the source is of type {type(source).__name__}: give a path, a glob, a URL, a list of these, "
        "or an iterable of dicts (one record alone goes in a list)"
    )
    assert_error(source, "bad_source", message)


def test_paths_and_dicts_do_not_mix(write):
    message = "item 1 of the list of sources is of type dict, item 0 is a path: give paths only, or dicts only"
    assert_error([write("[]"), {"a": 1}], "bad_source", message)
    assert error_of([{"a": 1}, "data.json"]).reason == "not_object"


# What is skipped


def test_skipping_counts_what_it_passes_over(write):
    path = write(b'oops\n{"a": 1}\n[2]\n{"a": "\xff"}\n{"a": 2}\n{"a"\n')
    assert [content(chunk) for chunk in read(path, size=5, skip=True)] == [
        ([1, 4], [{"a": 1}, {"a": 2}], {"not_json": 1, "not_object": 1, "not_utf8": 1}),
        ([], [], {"not_json": 1}),
    ]
    assert [content(chunk) for chunk in read([1, {"a": 1}], skip=True)] == [([1], [{"a": 1}], {"not_object": 1})]


def test_bad_rows_do_not_make_a_chunk_longer(write):
    path = write('{"a": 1}\n' + "oops\n" * 5 + '{"a": 2}\n')
    assert [chunk.stop for chunk in read(path, size=3, skip=True)] == [3, 6, 7]


def test_skipping_everything_is_an_error(write):
    path = write("a\nb\n1\n")
    first = f"{path}, line 1, column 1: not JSON (Expecting value): {RULE}"
    message = f"{path}: holds no records (2 rejected as not_json, 1 rejected as not_object); the first: {first}"
    assert_error(path, "no_records", message, skip=True)
