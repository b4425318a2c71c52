"""Rows are counted through all sources, whatever the rows before them held."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate import prepare
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks

GOOD, BAD, BLANK = '{"text": "x"}', "oops", " "


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        return tmp_path / name

    return write


def source_rows(source, out, **options):
    store = prepare(source, out, encoding="bytes", template="text", on_error="skip", **options)
    return [store.source_row(i) for i in range(len(store))]


def test_a_file_after_rejected_lines_begins_where_they_end(write, tmp_path):
    files = [write("a.jsonl", GOOD, GOOD, BAD, BAD, BAD), write("b.jsonl", GOOD, GOOD)]
    assert source_rows(files, tmp_path / "store") == [0, 1, 5, 6]


def test_bad_lines_at_the_start_of_a_file_count(write, tmp_path):
    files = [write("a.jsonl", BAD, GOOD), write("b.jsonl", BAD, BAD, GOOD, BAD), write("c.jsonl", GOOD)]
    assert source_rows(files, tmp_path / "store") == [1, 4, 6]


def test_blank_lines_count_wherever_they_stand(write, tmp_path):
    files = [write("a.jsonl", BLANK, GOOD, BLANK, BAD, BLANK), write("b.jsonl", "", GOOD)]
    assert source_rows(files, tmp_path / "store") == [1, 6]


def test_records_that_the_template_refuses_count(write, tmp_path):
    other = '{"txt": 1}'
    array = tmp_path / "array.json"
    array.write_text(json.dumps([{"text": "x"}, {"txt": 1}, 7]))
    files = [write("a.jsonl", other, GOOD, other), array, write("b.jsonl", GOOD)]
    assert source_rows(files, tmp_path / "store") == [1, 3, 6]


def test_the_same_file_twice_is_counted_twice(write, tmp_path):
    path = write("a.jsonl", BAD, GOOD, BAD)
    assert source_rows([path, path], tmp_path / "store") == [1, 4]


def test_an_iterable_counts_what_is_no_record(tmp_path):
    assert source_rows([5, {"text": "a"}, {}, {"text": "b"}, None], tmp_path / "store") == [1, 3]


def test_chunks_of_one_file_count_on_in_every_process(write, tmp_path):
    lines = [GOOD if i % 3 else BAD for i in range(3000)]
    files = [write("a.jsonl", *lines, BLANK), write("b.jsonl", *lines)]
    wanted = [base + i for base in (0, 3001) for i in range(3000) if i % 3]
    for workers in (1, 2):
        assert source_rows(files, tmp_path / str(workers), workers=workers) == wanted


@given(st.lists(st.lists(st.sampled_from([GOOD, BAD, BLANK]), max_size=6), max_size=4), st.integers(1, 3))
def test_rows_are_the_lines_of_all_files_one_after_another(tmp_path_factory, files, size):
    folder = tmp_path_factory.mktemp("files")
    files = [lines for lines in files if GOOD in lines]
    paths = [folder / f"{i}.jsonl" for i in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    chunks = read_chunks(resolve(paths), size=size, skip=True)
    found = [row for chunk in chunks for row in (chunk.base + chunk.rows).tolist()]
    every = [line for lines in files for line in lines]
    assert found == [row for row, line in enumerate(every) if line == GOOD]
