"""CSV and TSV: the text that was written, or an error with the line."""

import csv
import io

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reading import addresses, assert_error, error_of, read, records

from fastcollate.errors import InputError
from fastcollate.sources.formats import delimited

CELLS = st.text(st.sampled_from('a",;\t\n é'), max_size=6)  # csv does not always quote a carriage return


@pytest.mark.parametrize("name", ["data.csv", "data.tsv"])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]), st.data())
def test_what_csv_writes_is_read(tmp_path_factory, name, rows, end, data):
    path = tmp_path_factory.mktemp("csv") / name
    written, dialect = io.StringIO(), "excel" if name == "data.csv" else "excel-tab"
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    csv.writer(written, dialect, lineterminator=end, quoting=quoting).writerows([("x", "y"), *rows])
    text = written.getvalue()
    path.write_bytes(
        text.removesuffix(end).encode() if data.draw(st.booleans()) and rows[-1][1] else text.encode()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", data.draw(st.sampled_from([1, 5, 1 << 20])))
        assert records(path, size=2) == [{"x": x, "y": y} for x, y in rows]


def test_values_stay_the_text_that_was_written(write):
    path = write("a,b,c\nNA,null,007\n 1 ,,1e5\n", "data.csv")
    assert records(path) == [{"a": "NA", "b": "null", "c": "007"}, {"a": " 1 ", "b": "", "c": "1e5"}]


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("x;y", ["1,5;2"]),  # as Excel writes where a comma stands in numbers
        ('"x";"y"', ['"a;b";c']),
        ("x\ty", ["a,b\tc"]),
        ('"x,1";y', ["a;b"]),
    ],
)
def test_a_header_tells_what_parts_fields_where_it_has_no_comma(write, header, rows):
    path = write("\ufeff" + "\r\n".join([header, *rows]), "data.csv")
    delimiter = "\t" if "\t" in header else ";"
    names, *expected = csv.reader([header, *rows], delimiter=delimiter)
    assert records(path) == [dict(zip(names, row, strict=True)) for row in expected]


def test_a_first_line_may_name_what_parts_fields(write):
    path = write("sep=;\r\nx;y\r\n1,5;2\r\n3\r\n", "data.csv")
    assert records(path, skip=True) == [{"x": "1,5", "y": "2"}]
    assert str(error_of(path)).startswith(f"{path}, line 4: has 1 fields, and the header 2")


@pytest.mark.parametrize("header", ["x,y;z", "x;y\tz", "x"])
def test_a_header_that_leaves_a_choice_is_parted_by_commas(write, header):
    rows = [header, *["1,2"] * ("," in header), *["1"] * ("," not in header)]
    names, *expected = csv.reader(rows)
    assert records(write("\n".join(rows), "data.csv")) == [dict(zip(names, row, strict=True)) for row in expected]


def test_a_header_loses_its_byte_order_mark_and_its_quotes(write):
    assert records(write('\ufeff"text"\n"hi"\n', "g.csv")) == [{"text": "hi"}]
    assert records(write('text,"n"\r\nhi,1\r\n'.encode("utf-16"), "w.csv")) == [{"text": "hi", "n": "1"}]


def test_rows_are_counted_from_the_header_and_lines_from_one(write):
    path = write('a,b\n\n1,"x\ny"\n\n2,z\n', "data.csv")
    (chunk,) = read(path)
    assert (chunk.rows.tolist(), chunk.stop) == ([0, 1], 2)
    assert addresses(chunk) == [f"{path}, line 3", f"{path}, line 6"]


@pytest.mark.parametrize("skip", [False, True])
def test_a_quote_that_is_never_closed_names_its_line(write, skip):
    path = write('prompt\tcompletion\n"open\t one\np2\t two\np3\t three\n', "e.tsv")
    how = 'close it, write a quote within a quoted field twice (""), or quote the whole field'
    assert_error(path, "bad_quote", f"{path}, line 2: a quote opens a field and is never closed: {how}", skip=skip)
    path = write('a,b\n1,2\n"open,3\n4,"x"\n', "f.csv")
    assert_error(
        path, "bad_quote", f"{path}, line 3: text follows the quote that closes a field: {how}", skip=skip
    )


def test_a_ragged_row_names_its_line(write):
    path = write("a,b\n1,2\n1,2,3\n4\n5,6\n", "data.csv")
    message = f"{path}, line 3: has 3 fields, and the header 2: quote fields that hold the delimiter"
    assert_error(path, "ragged", message)
    (chunk,) = read(path, skip=True)
    assert chunk.records == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]
    assert [(row.row, row.reason, row.record) for row in chunk.rejected] == [
        (1, "ragged", ["1", "2", "3"]),
        (2, "ragged", ["4"]),
    ]


def test_a_column_named_twice_is_an_error(write):
    path = write("a,b,a\n1,2,3\n", "data.csv")
    assert_error(
        path, "duplicate_key", f'{path}, line 1: the header names the column "a" twice: rename one of the two'
    )


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b"])
def test_a_header_alone_is_no_record(write, content):
    assert error_of(write(content, "data.csv")).reason == "no_records"


def test_bytes_that_are_no_utf8_name_the_line(write):
    path = write(b"a\nx\n\xe9\n", "data.csv")
    assert_error(
        path,
        "not_utf8",
        f"{path}, line 3: not UTF-8 in the row that begins at byte 4 of the file: save it as UTF-8",
    )
    assert records(path, skip=True) == [{"a": "x"}]


def test_line_ends_of_old_macs_are_told(write):
    path = write("a,b\r1,2\r", "data.csv")
    assert error_of(path).reason == "bad_quote"
    assert "a carriage return stands alone" in str(error_of(path))


@given(st.text(st.sampled_from('aa",\n\n'), max_size=20))
@settings(suppress_health_check=[HealthCheck.filter_too_much])
def test_whatever_is_read_strictly_csv_reads_alike(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_bytes(b"x,y\n" + text.encode())
    try:
        chunks = read(path)
    except InputError:
        assume(False)
    strict = csv.reader(io.StringIO("x,y\n" + text, newline=""), strict=True)
    assert [list(record.values()) for chunk in chunks for record in chunk.records] == [
        row for row in strict if row
    ][1:]


def test_wide_rows_are_few_at_a_time(write):
    path = write("text\n" + ("x" * 1_000_000 + "\n") * 12, "data.csv")
    assert [len(chunk.records) for chunk in read(path, size=4096)] == [6, 6]
