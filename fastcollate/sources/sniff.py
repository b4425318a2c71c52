"""What a file is, by its first bytes, and where these leave a choice by its name."""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import Literal

from fastcollate.errors import InputError
from fastcollate.sources.chunk import Origin
from fastcollate.sources.formats.not_records import JSON_RULE, spread_object

__all__ = [
    "COMPRESSED",
    "ENDINGS",
    "FORMATS",
    "HEAD_BYTES",
    "TEXT_BETWEEN",
    "Kind",
    "ending",
    "is_columnar",
    "names_compressed",
    "sniff",
]

Kind = Literal["lines", "array", "parquet", "arrow", "arrow stream", "csv", "tsv", "text"]

HEAD_BYTES = 1 << 16
FORMATS = ("json", "jsonl", "csv", "tsv", "parquet", "arrow", "text", "text-file")
TEXT_BETWEEN = "text:"
"""How a format begins that parts documents by the text which follows."""

ENDINGS = {
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "txt": "text",
    "text": "text",
}
"""The format that each ending of a name stands for."""

COMPRESSED = frozenset({"gz", "gzip", "zst", "zstd", "bz2", "xz"})
_COLUMNAR: dict[bytes, Kind] = {
    b"PAR1": "parquet",
    b"PARE": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow stream",
}
_NAMED: dict[str, Kind] = {"csv": "csv", "tsv": "tsv", "text": "text", "text-file": "text", "jsonl": "lines"}
_FOREIGN = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file: fetch it by git lfs pull"),
    (0, b"PK\x03\x04", "a zip archive: unpack it by unzip, and give what is in it"),
    (0, b"PK\x05\x06", "an empty zip archive: give files of records"),
    (257, b"ustar", "a tar archive: unpack it by tar -xf, and give what is in it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it, and give what is in it"),
    (0, b"Rar!", "a RAR archive: unpack it, and give what is in it"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4, which is not read: decompress it by lz4 -d"),
    (0, b"%PDF-", "a PDF: take its text out first"),
    (0, b"SQLite format 3\0", "an SQLite database: export the table as CSV or JSON Lines"),
    (0, b"FEA1", "a Feather file of version 1: write it again, by pyarrow.feather.write_feather"),
    (0, b"ORC", "an ORC file: write it as Parquet"),
    (0, b"Obj\x01", "an Avro file: write it as Parquet"),
    (0, b"\x93NUMPY", "a NumPy array: records are objects of named fields"),
    (0, b"\x89HDF", "an HDF5 file: write its records as JSON Lines or Parquet"),
    (0, b"\x80\x02", "a pickle, which is a program and is never run: write its records as JSON Lines"),
    (0, b"\x80\x03", "a pickle, which is a program and is never run: write its records as JSON Lines"),
    (0, b"\x80\x04", "a pickle, which is a program and is never run: write its records as JSON Lines"),
    (0, b"\x80\x05", "a pickle, which is a program and is never run: write its records as JSON Lines"),
)
_HTML = re.compile(rb"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)


def is_columnar(head: bytes) -> bool:
    """Tell whether a file is Parquet or Arrow, which are no text."""
    return head.startswith(tuple(_COLUMNAR))


def ending(name: str) -> str:
    """Return the format that a name's ending stands for, without that of a compression; "" is none.

    >>> ending("data/train.JSONL.gz"), ending("https://x.org/a.csv?raw=1"), ending("README.md")
    ('json', 'csv', '')
    """
    path = name.partition("?")[0].partition("#")[0] if name.lower().startswith(("http://", "https://")) else name
    words = [word.lower().removeprefix(".") for word in PurePath(path).suffixes]
    if words and words[-1] in COMPRESSED:
        words.pop()
    return ENDINGS.get(words[-1], "") if words else ""


def names_compressed(name: str) -> bool:
    """Return whether a file's name says that it is compressed.

    >>> names_compressed("data/train.jsonl.GZ"), names_compressed("gz")
    (True, False)
    """
    return PurePath(name).suffix[1:].lower() in COMPRESSED


def sniff(head: bytes, name: str, wanted: str | None) -> Kind:
    r"""Return how a file is read.

    Args:
        head: The first 64 KiB of the file, decompressed, without a byte order mark; all of a smaller file.
        name: The path or URL.
        wanted: The format that the caller names; None is told by the content and the name.

    Raises:
        InputError: The file is of a kind that is not read, or not of the kind that is wanted.

    >>> sniff(b' \n[{"text": "a"}]', "data.jsonl", None), sniff(b"a,b\n", "data.csv", None)
    ('array', 'csv')
    """
    for at, magic, what in _FOREIGN:
        if head.startswith(magic, at):
            raise InputError(f"{name}: is {what}", path=name, reason="not_data")
    found = next((kind for magic, kind in _COLUMNAR.items() if head.startswith(magic)), None)
    if found is not None or wanted in ("parquet", "arrow"):
        return _columnar(found, name, wanted)
    if wanted is not None and wanted != "json":
        return _NAMED[wanted.partition(":")[0]]
    by_name = ending(name)
    if wanted is None and by_name in _NAMED and not _looks_like_json(head):
        return _NAMED[by_name]
    return _json(head, name)


def _columnar(found: Kind | None, name: str, wanted: str | None) -> Kind:
    if found is None:
        message = f"{name}: is no file of {str(wanted).capitalize()}: leave format (--format) out to have it told"
        raise InputError(message, path=name, reason="damaged")
    if wanted is not None and not found.startswith(wanted):
        message = f"{name}: is a file of {found.capitalize()}, not {wanted}: leave format (--format) out"
        raise InputError(message, path=name, reason="not_data")
    return found


def _looks_like_json(head: bytes) -> bool:
    """Whether a file that is named otherwise begins with an object, or an array of them."""
    line = head.lstrip().partition(b"\n")[0].strip()
    if not line.startswith((b'{"', b"[{", b"{}")):
        return line == b"[" and head.lstrip()[1:].lstrip()[:1] == b"{"
    return line.endswith((b"}", b"]", b",", b"{", b"[")) or len(line) >= HEAD_BYTES // 2


def _json(head: bytes, name: str) -> Kind:
    """Whether JSON is an array or lines; what looks like an object over several lines is an error."""
    blank = len(head) - len(head.lstrip())
    line, ended, rest = head[blank:].partition(b"\n")
    line = line.strip()
    if line.startswith(b"["):
        return "lines" if rest.lstrip().startswith(b"[") and _is_chat(line) else "array"
    if _HTML.match(head):
        raise Origin(name, "line").error(
            head[:blank].count(b"\n"), f"not JSON (it looks like an HTML page): {JSON_RULE}", "not_json"
        )
    # A comma after a whole object is another mistake: lines that were taken from an array.
    whole = ended or len(head) < HEAD_BYTES
    if whole and line.startswith(b"{") and line.endswith((b"{", b"[", b":", b",")) and not line.endswith(b"},"):
        raise spread_object(head, Origin(name), head[:blank].count(b"\n") + 1)
    return "lines"


def _is_chat(line: bytes) -> bool:
    """Whether a line is a list of turns: a file of such has one a line."""
    try:
        turns = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(turns, list):
        return False
    return all(isinstance(turn, dict) and {"role", "from"} & turn.keys() for turn in turns)
