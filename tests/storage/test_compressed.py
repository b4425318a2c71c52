"""Compressed streams are read whole, in any pieces, or refused."""

import bz2
import gzip
import lzma
import zlib
from io import BytesIO

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.errors import InputError, LimitError
from fastcollate.storage import compressed
from fastcollate.storage.compressed import ByteStream, decompressed

KINDS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def opened(data, name="data.jsonl"):
    return decompressed(ByteStream(BytesIO(data).read), name)


def whole(data, size=1 << 16):
    stream, _ = opened(data)
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("kind", KINDS)
@given(members=st.lists(st.binary(max_size=2000).map(lambda data: 9 * data), min_size=1), size=st.integers(1, 999))
def test_members_one_after_another_are_their_content_one_after_another(kind, members, size):
    data = b"".join(map(KINDS[kind], members))
    assert opened(data)[1] == kind
    assert whole(data, size) == b"".join(members)


@given(data=st.binary(max_size=99), sizes=st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=20))
def test_a_stream_that_is_looked_at_loses_nothing(data, sizes):
    stream, at = ByteStream(BytesIO(data).read), 0
    for peeks, size in sizes:
        if peeks:
            assert stream.peek(size) == data[at : at + size]
        else:
            block = stream.read(size)
            assert block == data[at : at + len(block)]
            assert block or at == len(data)
            at += len(block)
        assert stream.offset == at


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_cut_short_is_an_error_with_the_byte(kind):
    data = KINDS[kind](bytes(range(256)) * 300)
    for cut in (len(data) - 1, len(data) // 2, 20):
        with pytest.raises(InputError) as caught:
            whole(data[:cut])
        assert caught.value.reason == "damaged"
        assert str(caught.value) == (
            f"data.jsonl: the {kind} data is cut short at byte {cut}: copy or download the file again"
        )


@pytest.mark.parametrize(
    ("kind", "where"),
    [(kind, where) for kind in KINDS for where in ("middle", "behind") if (kind, where) != ("zstd", "middle")],
)  # pyarrow's zstd writes no checksum, as its program does
def test_damage_is_an_error(kind, where):
    data = bytearray(KINDS[kind](bytes(range(256)) * 300))
    if where == "behind":
        data += b"rubbish behind the end"
    else:
        data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
    with pytest.raises(
        InputError, match=rf"data.jsonl: the {kind} data is (damaged before|cut short at) byte \d+"
    ) as caught:
        whole(bytes(data))
    assert caught.value.reason == "damaged"


def test_zeros_may_pad_a_file():
    assert whole(gzip.compress(b"abc") + bytes(1000)) == b"abc"


def test_what_is_not_compressed_is_as_it_is():
    for data in (b"", b"{}", b"BZh91 is a text", b"\x1f", b"(\xb5/"):
        assert opened(data)[1] is None
        assert whole(data) == data


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_bomb_is_stopped_and_regular_text_is_not(kind, monkeypatch):
    monkeypatch.setattr(compressed, "_FREE_BYTES", 1 << 20)
    monkeypatch.setattr(compressed, "_BLOCK_BYTES", 1 << 10)
    text = b"".join(b'{"text": "line %d"}\n' % i for i in range(100_000))
    assert whole(KINDS[kind](text)) == text
    message = f"data.jsonl: more than .* MiB come out of .* bytes of {kind} data, over 1000 times"
    with pytest.raises(LimitError, match=message):
        whole(KINDS[kind](bytes(40 << 20)))


def test_gzip_reaches_the_limit():
    assert (100 << 20) / len(zlib.compress(bytes(100 << 20), 9)) > compressed._MOST_TIMES
