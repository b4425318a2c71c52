"""Parquet and Arrow: the records that were written, in parts, or an error that says what the file is."""

import datetime as dt
import gzip
import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from reading import addresses, assert_error, error_of, read, records

from fastcollate.errors import InputError
from fastcollate.sources.files import FileSource

ROWS = [
    {"text": "hi", "n": 1, "turns": [{"role": "user", "content": None}], "tag": "x"},
    {"text": None, "n": None, "turns": [], "tag": None},
    {"text": "é\0", "n": 3, "turns": None, "tag": "x"},
] * 5


def table(rows=ROWS):
    made = pa.Table.from_pylist(rows)
    tag = made.schema.get_field_index("tag")
    return made.set_column(tag, "tag", made["tag"].dictionary_encode())


def as_parquet(made):
    out = io.BytesIO()
    pq.write_table(made, out, row_group_size=4)
    return out.getvalue()


def as_file(made):
    out = io.BytesIO()
    with pa.ipc.new_file(out, made.schema) as writer:
        writer.write_table(made, max_chunksize=4)
    return out.getvalue()


def as_stream(made):
    out = io.BytesIO()
    with pa.ipc.new_stream(out, made.schema) as writer:
        writer.write_table(made, max_chunksize=4)
    return out.getvalue()


def as_feather(made):
    out = io.BytesIO()
    pyarrow.feather.write_feather(made, out)
    return out.getvalue()


KINDS = {"parquet": as_parquet, "arrow": as_file, "stream": as_stream, "feather": as_feather}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "data.arrow"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_records_are_those_that_were_written(write, kind, name, compress):
    path = write(compress(KINDS[kind](table())), name)
    chunks = read(path, size=3)
    assert [record for chunk in chunks for record in chunk.records] == ROWS
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == list(range(15))
    assert max(len(chunk.records) for chunk in chunks) == 3
    assert addresses(chunks[-1])[-1] == f"{path}, record 14"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("size", [1, 500, 1 << 20])
def test_parts_are_row_groups_and_batches(write, kind, size):
    source = FileSource(write(KINDS[kind](table())))
    parts = source.parts(size)
    assert len(parts) == 4 if size == 1 else len(parts) <= 4
    found, places = [], []
    for part in parts:
        for chunk in source.chunks(part, size=3, skip=False):
            found += chunk.records
            places += addresses(chunk)
    assert found == ROWS
    assert places == [f"{source.name}, record {i}" for i in range(15)]


def test_what_has_no_parts_is_whole(write):
    for data in (
        as_stream(table()),
        gzip.compress(as_parquet(table())),
        gzip.compress(b'{"a": 1}\n' * 9),
        b"[{}]",
    ):
        assert FileSource(write(data)).parts(1) == [(0, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_rows_has_no_records(write, kind):
    assert error_of(write(KINDS[kind](table().slice(0, 0)))).reason == "no_records"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_told(write, kind):
    data = KINDS[kind](table())
    for at in (len(data) // 2, len(data) - 3):
        path = write(data[:at])
        error = error_of(path, skip=True)
        assert error.reason == "damaged"
        assert str(error).startswith(
            f"{path}: is damaged, or no {'Parquet' if kind == 'parquet' else 'Arrow'} file ("
        )


def test_damage_anywhere_never_leaves_the_library(write):
    for kind in ("parquet", "arrow", "stream"):
        data = KINDS[kind](table())
        for at in range(8, len(data) - 8, 61):
            path = write(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            with suppress(InputError):
                assert len(records(path, skip=True)) <= 15


def test_an_encrypted_file_is_called_that(write):
    path = write(b"PARE" + bytes(50) + b"PARE")
    message = f"{path}: is an encrypted Parquet file: decrypt it first"
    assert_error(path, "damaged", message)


def test_two_columns_of_one_name_are_an_error(write):
    made = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    path = write(as_file(made))
    assert_error(path, "duplicate_key", f'{path}: two columns are named "text": rename one of the two')


def test_text_that_is_no_utf8_names_its_record(write):
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    path = write(as_file(pa.table({"text": text})))
    assert_error(
        path, "not_utf8", f'{path}, record 1: the column "text" is not UTF-8: write it as text, or as binary'
    )
    (chunk,) = read(path, skip=True)
    assert (chunk.rows.tolist(), chunk.records) == ([0], [{"text": "a"}])


def test_values_of_other_types_are_pythons(write):
    day = dt.date(2020, 1, 2)
    made = pa.table({"b": pa.array([b"\xff"]), "d": pa.array([day]), "l": pa.array(["x"], pa.large_string())})
    assert records(write(as_parquet(made))) == [{"b": b"\xff", "d": day, "l": "x"}]


def test_columns_that_cannot_be_read_as_named_are_refused(write):
    path = write(as_parquet(table()), "data.csv")
    with pytest.raises(InputError, match=r"data\.csv: is a file of Parquet, not csv: leave format"):
        read_as(path, "csv")
    path = write(b"a,b\n1,2\n", "data.parquet")
    with pytest.raises(InputError, match=r"data\.parquet: is no file of Parquet"):
        read_as(path, "parquet")


def read_as(path, wanted):
    return list(FileSource(path, wanted).chunks(FileSource(path).parts(1 << 30)[0], size=9, skip=False))


@pytest.mark.parametrize("kind", ["arrow", "stream"])
def test_wide_rows_are_few_at_a_time(write, kind):
    made, out = pa.table({"text": ["x" * 1_000_000] * 12}), io.BytesIO()
    with {"arrow": pa.ipc.new_file, "stream": pa.ipc.new_stream}[kind](out, made.schema) as writer:
        writer.write_table(made)
    assert [len(chunk.records) for chunk in read(write(out.getvalue(), "data"), size=4096)] == [5, 5, 2]
