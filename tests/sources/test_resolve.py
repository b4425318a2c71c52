"""What a source stands for, what is said of it, and what becomes of files that hold no records."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pytest
from reading import addresses, assert_error, error_of, read, records

from fastcollate.errors import InputError
from fastcollate.sources.resolve import find_sources, resolve


def names(found):
    return [source.name for source in found.sources]


@pytest.fixture
def folder(tmp_path):
    def fill(*paths):
        for i, path in enumerate(paths):
            at = tmp_path / "in" / path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(json.dumps({"a": i}))
        return tmp_path / "in"

    return fill


def test_a_folder_is_walked_in_order_and_what_is_left_out_is_said(folder):
    here = folder(
        "b.jsonl", "a/z.json", "a/b.jsonl.gz", "README.md", "LICENSE.txt", ".git/x.json", "a/.y.json", "m.png"
    )
    found = find_sources(here)
    assert names(found) == [f"{here}/{name}" for name in ("a/b.jsonl.gz", "a/z.json", "b.jsonl")]
    assert found.notes == [
        f"{here}: 3 files, from {here}/a/b.jsonl.gz to {here}/b.jsonl",
        f"{here}: left out, as no records: LICENSE.txt, README.md, m.png",
        f"{here}: left out, as hidden: .git, a/.y.json",
    ]
    assert records(here) == [{"a": 2}, {"a": 1}, {"a": 0}]


def test_a_folder_of_texts_is_read_as_text(folder):
    here = folder("b.txt", "a.txt")
    (here / "b.txt").write_text("one\ntwo")
    assert records(here) == [{"a": 1}, {"text": "one"}, {"text": "two"}]


def test_a_saved_dataset_is_its_tables(folder):
    here = folder("data-00000-of-00001.arrow", "state.json", "dataset_info.json")
    assert names(find_sources(here)) == [f"{here}/data-00000-of-00001.arrow"]


def test_a_folder_without_data_is_an_error(folder, tmp_path):
    here = folder("m.png", "x.pdf")
    message = (
        f"{here}: no file of records is in this folder (it has m.png, x.pdf): give files by name, or the format of"
    )
    assert str(error_of(here)).startswith(message)
    (tmp_path / "empty").mkdir()
    assert "(it is empty)" in str(error_of(tmp_path / "empty"))
    assert error_of(here).reason == "not_found"


def test_many_left_out_are_counted_by_kind(folder):
    here = folder("a.json", *(f"{i:02}.png" for i in range(8)), "README")
    shown = "00.png, 01.png, 02.png, 03.png, 04.png and 4 more (3 with .png, 1 with no ending)"
    assert find_sources(here).notes[1] == f"{here}: left out, as no records: {shown}"


def test_a_format_chooses_among_the_files_of_a_folder(folder):
    here = folder("a.json", "b.csv", "c.txt", "d.jsonl.zst")
    for wanted, taken in (
        ("csv", "b.csv"),
        ("text-file", "c.txt"),
        ("jsonl", "a.json d.jsonl.zst"),
        (None, "a.json b.csv d.jsonl.zst"),
    ):
        assert names(find_sources(here, format=wanted)) == [f"{here}/{name}" for name in taken.split()]


def test_globs_say_what_they_match_and_double_files_are_told(folder):
    here = folder("b.jsonl", "a.jsonl")
    found = find_sources([f"{here}/*.jsonl", f"{here}/a.jsonl"])
    assert names(found) == [f"{here}/{name}.jsonl" for name in "aba"]
    assert found.notes == [
        f"{here}/*.jsonl: 2 files, from {here}/a.jsonl to {here}/b.jsonl",
        f"{here}/a.jsonl: given 2 times, and read as often",
    ]


def test_standard_input_is_read(monkeypatch):
    for data in (b'{"a": 1}\n', gzip.compress(b'[{"a": 1}]')):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        (chunk,) = read("-")
        assert chunk.records == [{"a": 1}]
        assert addresses(chunk)[0].startswith("standard input, ")
    (source,) = resolve("-")
    assert (source.fingerprint(), source.parts(1)) == (None, [(0, None)])


@pytest.mark.parametrize("wanted", ["xml", "text:", "TEXT", 5, ""])
def test_an_unknown_format_lists_the_known(wanted):
    with pytest.raises(InputError, match=r"format is .*: it must be one of 'json', 'jsonl', 'csv'"):
        find_sources("a", format=wanted)


def test_a_format_is_for_files():
    with pytest.raises(InputError, match="format is 'json', and the source holds records already: leave it out"):
        find_sources([{"a": 1}], format="json")


# In memory


def test_tables_are_read_as_records():
    table = pa.table({"text": pa.array(["hi", "ho"]).dictionary_encode(), "n": [1, None]})
    rows = [{"text": "hi", "n": 1}, {"text": "ho", "n": None}]
    assert records(table) == rows
    assert records(pa.RecordBatchReader.from_batches(table.schema, table.to_batches())) == rows
    assert records([table, table]) == [*rows, *rows]
    (chunk,) = read(table)
    assert addresses(chunk) == ["record 0 of the given iterable", "record 1 of the given iterable"]


def test_a_data_frame_is_a_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["hi", None], "n": [1, 2]})
    assert records(frame) == [{"text": "hi", "n": 1}, {"text": None, "n": 2}]
    assert error_of(pandas.DataFrame({"mixed": [1, "a", [2]]})).reason == "damaged"


def test_datasets_of_hugging_face_are_read():
    datasets = pytest.importorskip("datasets")
    rows = [{"text": f"{i}", "turns": [{"role": "user"}] * (i % 2)} for i in range(5)]
    made = datasets.Dataset.from_list(rows)
    assert records(made, size=2) == rows
    shuffled = made.shuffle(seed=1)
    assert records(shuffled) == list(shuffled)
    assert records(made.to_iterable_dataset()) == rows
    (source,) = resolve(made)
    assert source.fingerprint() == resolve(made)[0].fingerprint() != resolve(shuffled)[0].fingerprint()
    message = "the source is a DatasetDict of the splits train, test: give one of these, such as dataset['train']"
    assert_error(datasets.DatasetDict(train=made, test=made), "bad_source", message)


def test_a_fingerprint_changes_with_the_file(write):
    path = write('{"a": 1}')
    before = resolve(path)[0].fingerprint()
    assert resolve(path)[0].fingerprint() == before != resolve(path, format="json")[0].fingerprint()
    write('{"a": 2}')
    assert resolve(path)[0].fingerprint() != before


# One among many


@pytest.mark.parametrize(
    "bad",
    [b"", b"\n", b'[{"a": 1}', b"PK\x03\x04", gzip.compress(b'{"a": 1}', mtime=0)[:-9], b"\n<html>\n", b'{"a"\n'],
)
def test_a_bad_file_among_many_is_named_and_the_others_go_on(write, bad):
    paths = [write('{"a": 1}\n\n', "a.jsonl"), write(bad, "b.jsonl"), write('{"a": 2}\n', "c.jsonl")]
    alone = error_of(paths[1], skip=True)
    assert str(error_of(paths)) in (str(alone), str(error_of(paths[1])))
    chunks = read(paths, skip=True)
    assert [record for chunk in chunks for record in chunk.records] == [{"a": 1}, {"a": 2}]
    told = [row for chunk in chunks for row in chunk.rejected if row.row == -1]
    assert [(row.reason, row.record) for row in told] == [(alone.reason, None)]
    assert told[0].message.startswith(str(alone))
    lines = {b"\n": 1, b'{"a"\n': 1}.get(bad, 0)
    assert chunks[-1].base == 2 + lines
    with pytest.raises(InputError):
        read(paths)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "a Git LFS pointer, not the file: fetch it by git lfs pull",
        ),
        (b"PK\x03\x04rest", "a zip archive: unpack it by unzip, and give what is in it"),
        (
            gzip.compress(b"x" * 257 + b"ustar  \0", mtime=0),
            "a tar archive: unpack it by tar -xf, and give what is in it",
        ),
        (b"%PDF-1.4", "a PDF: take its text out first"),
    ],
)
def test_what_is_no_data_is_called_what_it_is(write, content, said):
    path = write(content, "data.jsonl")
    assert_error(path, "not_data", f"{path}: is {said}")
    assert_error(path, "not_data", f"{path}: is {said}", skip=True)


def test_utf16_is_read_with_its_mark_and_told_without(write):
    text = '{"a": "é😀"}\n{"a": "\u2028"}\n'
    for encoding in ("utf-16-le", "utf-16-be"):
        path = write("\ufeff".encode(encoding) + text.encode(encoding))
        assert records(path) == [{"a": "é😀"}, {"a": "\u2028"}]
        error = error_of(write(text.encode(encoding)))
        assert error.reason == "not_utf8"
        assert f"iconv -f {encoding.upper().replace('-', '-', 1).replace('16-', '16')} -t UTF-8" in str(error)
    cut = write('{"a": 1}'.encode("utf-16")[:-1])
    assert str(error_of(cut)) == f"{cut}: not UTF-16 at byte 16 of the file (truncated data): save it as UTF-8"
    assert error_of(write('{"a": 1}'.encode("utf-32"))).reason == "not_utf8"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "hi"}\r{"text": "ho"}\r', "its lines end in CR alone"),
        ('\x1e{"text": "hi"}\n\x1e{"text": "ho"}\n', "JSON text sequences"),
        ('\ufeff\ufeff{"text": "hi"}\n', "a byte order mark in the midst of a file"),
        ('{"text": ["a", "b"], "n": [1, 2]}', "holds one JSON object of columns, each a list"),
        ('{\n"text": ["a", "b"],\n"n": [1, 2]}', "holds one JSON object of columns, each a list"),
        ('{"text": {"0": "a", "1": "b"}}', "of columns by row number, as pandas writes by default"),
    ],
)
def test_json_that_is_no_file_of_records_is_told_apart(write, content, said):
    error = error_of(write(content))
    assert error.reason == "not_json"
    assert said in str(error)


def test_two_files_with_marks_that_were_joined_name_the_line(write):
    path = write('\ufeff{"a": 1}\n\ufeff{"a": 2}\n')
    assert str(error_of(path)).startswith(f"{path}, line 2: not JSON (a byte order mark in the midst of a file")
