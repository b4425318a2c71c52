"""Lines come in batches and parts, whole and counted, whatever the blocks."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import error_of, read, records

from fastcollate.errors import InputError, LimitError
from fastcollate.sources.files import FileSource
from fastcollate.sources.formats import line_batches as module
from fastcollate.sources.formats.line_batches import line_batches
from fastcollate.sources.opening import line_parts
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import Part
from fastcollate.storage.compressed import ByteStream

LINES = st.lists(st.text("ab\r", max_size=12).map(str.encode), max_size=12)


@given(LINES, st.booleans(), st.integers(1, 9), st.integers(1, 5), st.integers(0, 9))
def test_batches_are_the_lines_with_the_large_ones_passed_over(lines, ended, block, size, more):
    most = block + more
    text = b"\n".join(lines) + (b"\n" if ended else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block)
        patch.setattr(module, "MOST_BYTES", most)
        batches = list(line_batches(ByteStream(BytesIO(text).read), size, 100))
    found = []
    for batch in batches:
        assert batch.first == len(found)
        assert text[batch.start - 100 :].startswith(batch.text)
        assert len(batch.lines()) <= size
        found += [batch.large] if batch.large else batch.lines()
    wanted = text.split(b"\n") if text else []
    wanted = wanted if not wanted or wanted[-1] else wanted[:-1]
    assert len(found) == len(wanted)
    for line, is_line in zip(found, wanted, strict=True):
        assert line == (len(is_line) if isinstance(line, int) else is_line)
        assert isinstance(line, int) <= (len(is_line) >= most)
        assert isinstance(line, int) >= (len(is_line) > most)


@given(LINES, st.booleans(), st.integers(1, 30))
def test_parts_are_cut_between_lines_and_cover_the_file(lines, ended, size):
    text = b"\n".join(lines) + (b"\n" if ended else b"")
    parts = line_parts(BytesIO(text), size)
    assert b"".join(text[part.start : part.stop] for part in parts) == text
    assert all(text[part.start - 1 : part.start] in (b"", b"\n") for part in parts)
    borders = [part.start for part in parts[1:]]
    starts = [i + 1 for i, byte in enumerate(text) if byte == ord("\n") and i + 1 < len(text)]
    first = {min((s for s in starts if s >= at), default=0) for at in range(size, len(text) + size, size)}
    assert borders == sorted(first - {0})


@given(st.integers(1, 200))
def test_parts_hold_the_records_of_the_whole_and_name_its_lines(tmp_path_factory, size):
    lines = [f'{{"a": {i}}}' if i % 3 else ["oops", "", "[1]"][i % 9 // 3] for i in range(40)]
    path = tmp_path_factory.mktemp("parts") / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    source = FileSource(str(path))
    found, places, messages = [], [], []
    for part in source.parts(size):
        for chunk in source.chunks(part, size=3, skip=True):
            found += chunk.records
            places += map(chunk.origin.at, chunk.rows.tolist())
            messages += [row.message for row in chunk.rejected]
    (whole,) = read(path, skip=True)
    assert found == whole.records
    assert places == list(map(whole.origin.at, whole.rows.tolist()))
    assert messages == [row.message for row in whole.rejected]


def test_an_error_in_a_part_names_the_line_of_the_file(write):
    path = write('{"a": 1}\n' * 9 + "oops\n")
    source = FileSource(path)
    *_, last = source.parts(30)
    with pytest.raises(InputError, match=r"data\.json, line 10, column 1: not JSON"):
        list(source.chunks(last, size=9, skip=False))


def test_a_line_that_is_too_large_is_named_or_skipped(write, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 10_000)
    path = write('{"a": 1}\n{"a": "' + "x" * 100_000 + '"}\n{"a": 2}\n')
    with pytest.raises(LimitError, match=r"data\.json, line 2: has 0 MiB, and a record at most"):
        read(path)
    chunks = read(path, skip=True)
    assert [(row.row, row.reason, row.record) for chunk in chunks for row in chunk.rejected] == [
        (1, "too_large", None)
    ]
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == [0, 2]
    assert records(path, skip=True) == [{"a": 1}, {"a": 2}]


def test_the_limit_of_a_record_is_64_mib():
    assert module.MOST_BYTES == 64 << 20


def test_text_is_a_document_a_line(write):
    path = write('one \r\n\n  \n\ttwo, "two"\nthree', "data.txt")
    (chunk,) = read(path)
    assert chunk.rows.tolist() == [0, 3, 4]
    assert chunk.records == [{"text": "one "}, {"text": '\ttwo, "two"'}, {"text": "three"}]
    bad = write(b"one\ntw\xff\nthree", "bad.txt")
    assert str(error_of(bad)) == f"{bad}, line 2: not UTF-8 at byte 6 of the file: save it as UTF-8"
    assert records(bad, skip=True) == [{"text": "one"}, {"text": "three"}]


@pytest.mark.parametrize(
    ("wanted", "documents"),
    [
        ("text-file", ["a\nb\n\nc\r\n\r\n<x>\nd\n"]),
        ("text:<x>", ["a\nb\n\nc\r\n\r\n", "\nd\n"]),
        (r"text:\n\n", ["a\nb", "c", "<x>\nd\n"]),
        ("text", ["a", "b", "c", "<x>", "d"]),
    ],
)
def test_text_is_parted_as_the_format_says(write, wanted, documents):
    path = write("a\nb\n\nc\r\n\r\n<x>\nd\n", "data.txt")
    (source,) = resolve(path, format=wanted)
    chunks = [chunk for part in source.parts(4) for chunk in source.chunks(part, size=2, skip=False)]
    found = [record for chunk in chunks for record in chunk.records]
    assert found == [{"text": text} for text in documents]


@given(st.text("ab|", max_size=30), st.integers(1, 5), st.sampled_from(["|", "ab", "a|b"]))
def test_separated_text_is_what_split_makes_of_it(tmp_path_factory, text, block, mark):
    from fastcollate.sources.formats import plain_text

    path = tmp_path_factory.mktemp("text") / "data.txt"
    path.write_text(text + "\nend")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_text, "BLOCK_BYTES", block)
        (source,) = resolve(path, format=f"text:{mark}")
        chunks = list(source.chunks(Part(0, None), size=2, skip=False))
    wanted = [piece for piece in (text + "\nend").split(mark) if piece and not piece.isspace()]
    assert [record["text"] for chunk in chunks for record in chunk.records] == wanted
