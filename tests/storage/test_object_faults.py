"""What networks and servers do to a call: the right bytes come, or an error that says what is wrong, in time."""

import socket
import threading
import time
from itertools import count

import numpy as np
import pytest
from object_server import BUSY, DENIED, settings

from fastcollate.errors import StorageError
from fastcollate.storage.network.failures import ReplacedError
from fastcollate.storage.storage import open_storage

DATA = np.random.default_rng(5).bytes(700_000)
SECONDS = 4.0  # for what passes
SHORT = 0.6  # for what does not


@pytest.fixture
def storage(bucket, options):
    """The bucket without a proxy, with an object in it."""
    storage = open_storage(bucket, options)
    storage.put("data", DATA)
    return storage


@pytest.fixture
def faulty(storage, before):
    """A function that opens the bucket through a proxy."""

    def through(fault, timeout=SECONDS):
        proxy = before(fault)
        return open_storage(storage.url, settings(proxy.address, timeout=timeout)), proxy

    return through


def reads(request):
    return request.startswith(b"GET /") and b"range:" in request


def read_whole(storage):
    with storage.open("data") as file:
        return file.read()


def read_in_ranges(storage):
    return b"".join(storage.read_ranges("data", [(0, 300_000), (300_000, len(DATA))]))


READERS = [read_whole, read_in_ranges]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["busy", "cut", "lose", "delay"])
def test_what_passes_gives_the_right_bytes(faulty, kind, read):
    failed = []

    def fault(_, request):
        if not reads(request) or (len(failed) >= 2 and kind != "delay"):
            return None
        failed.append(request)
        return BUSY if kind == "busy" else getattr(proxy, kind)

    storage, proxy = faulty(fault)
    assert read(storage) == DATA
    assert len(failed) >= 1


@pytest.mark.parametrize(("kind", "read"), [("halt", read_in_ranges), ("stall", read_whole)])
def test_what_falls_silent_is_asked_for_again(faulty, kind, read):
    silent = []

    def fault(_, request):
        if not reads(request) or silent:
            return None
        silent.append(request)
        return getattr(proxy, kind)

    storage, proxy = faulty(fault, 2.0)
    assert read(storage) == DATA


SILENT = "the server did not answer (in time|within 0.6 seconds): try again"
MESSAGES = {
    "busy": r"the server is busy: it answered 503 \(SlowDown\) to every try: try again, or give storage_options",
    "cut": "the connection broke before the whole answer had come: try again",
    "lose": "the connection broke before an answer came: try again",
    "halt": SILENT,
    "stall": SILENT,
    "denied": r"the server refuses the credentials, or does not allow this: it answered 403 \(Inval",
}


@pytest.mark.parametrize(("kind", "read"), [*zip(MESSAGES, READERS * 3, strict=True), ("cut", read_whole)])
def test_what_does_not_pass_is_told_in_time(faulty, kind, read):
    answers = {"busy": BUSY, "denied": DENIED}

    def fault(_, request):
        return (answers.get(kind) or getattr(proxy, kind)) if reads(request) else None

    storage, proxy = faulty(fault, SHORT)
    begun = time.monotonic()
    with pytest.raises(StorageError, match=f"^{storage.url}/data: {MESSAGES[kind]}") as caught:
        read(storage)
    assert time.monotonic() - begun < SHORT + 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.sizes(),
        lambda storage: storage.look_up("data"),
        lambda storage: storage.read("data"),
        lambda storage: storage.put("new", b"1"),
        lambda storage: storage.put("new", b"1", if_absent=True),
        lambda storage: storage.rename("data", "new"),
        lambda storage: storage.delete("data"),
    ],
    ids=["sizes", "look_up", "read", "put", "put_if_absent", "rename", "delete"],
)
@pytest.mark.parametrize("kind", ["stall", "refused", "denied"])
def test_every_call_has_a_deadline_and_a_message(faulty, storage, kind, call):
    if kind == "refused":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        broken = open_storage(storage.url, settings(address, timeout=SHORT / 2))
    else:
        broken, proxy = faulty(lambda *_: DENIED if kind == "denied" else proxy.stall, SHORT / 2)
    begun = time.monotonic()
    why = {
        "stall": "the server did not answer",
        "refused": "the server refuses connections: check the endpoint",
        "denied": "the server refuses the credentials, or does not allow this: it answered 403",
    }[kind]
    with pytest.raises(StorageError, match=f"^{storage.url}(/data|/new)?: {why}"):
        call(broken)
    assert time.monotonic() - begun < SHORT + 2


def test_what_is_busy_for_a_while_is_written_once(faulty, storage):
    broken, proxy = faulty(lambda number, _: BUSY if number < 2 else None)
    assert broken.put("new", b"12", if_absent=True)
    assert bytes(storage.read_ranges("new", [(0, 2)])[0]) == b"12"
    assert [request[:4] for request in proxy.requests[:3]] == [b"PUT "] * 3


def test_a_writer_whose_answer_was_lost_has_won_all_the_same(faulty, storage):
    """The server has done it, and answers the second try that the object is there."""

    def done_and_busy(connection, _):
        connection.sendall(BUSY)

    broken, _ = faulty(lambda number, _: done_and_busy if number == 0 else None)
    assert broken.put("new", b"12", if_absent=True)
    assert not storage.put("new", b"12", if_absent=True)


def test_a_server_that_heeds_no_condition_is_refused(storage, before):
    class Deaf(type(before(None))):
        def _passed_on(self, request):
            head, mark, body = request.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"if-none-match")]
            return super()._passed_on(b"\r\n".join(lines) + mark + body)

    proxy = Deaf(f"http://{':'.join(before(None)._upstream)}", lambda *_: None)
    deaf = open_storage(storage.url, settings(proxy.address, timeout=SECONDS))
    with pytest.raises(StorageError, match="use a server that heeds If-None-Match"):
        deaf.put("new", b"1", if_absent=True)
    proxy.close()


def test_an_upload_that_breaks_leaves_no_object(faulty, storage, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(DATA * 13)  # in two parts
    broken, proxy = faulty(lambda _, request: DENIED if b"partNumber=2" in request else None)
    with pytest.raises(StorageError, match="new: the server refuses the credentials"):
        broken.upload(path, "new")
    assert storage.look_up("new") is None
    assert any(request.startswith(b"DELETE /") and b"uploadId" in request for request in proxy.requests)


def test_a_part_of_an_upload_is_sent_again(faulty, storage, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(DATA * 13)
    failed = []

    def fault(_, request):
        if b"partNumber=2" in request and len(failed) < 2:
            failed.append(request)
            return BUSY
        return None

    broken, _ = faulty(fault)
    broken.upload(path, "new")
    with storage.open("new") as file:
        assert file.read() == DATA * 13


@pytest.mark.parametrize("size", [700_000, 3_000_000])
def test_an_object_that_is_replaced_is_never_read_in_part(storage, size):
    storage.put("changing", DATA * 5)
    with storage.open("changing") as file:
        file.read(1000)
        storage.put("changing", bytes(size))
        with pytest.raises(StorageError, match="changing: the object was replaced while it was read: begin again"):
            file.read()


def test_an_object_keeps_its_version_where_that_was_asked_for(bucket, options, storage):
    keeping = open_storage(bucket, options, one_version=True)
    storage.put("one", b"first")
    assert keeping.read("one") == b"first"
    storage.put("one", b"other")
    with pytest.raises(ReplacedError):
        keeping.read("one")
    with pytest.raises(ReplacedError):
        keeping.read_ranges("one", [(0, 5)])
    assert (storage.read("one"), storage.read("none")) == (b"other", None)


def test_ranges_are_of_one_version(faulty, storage):
    storage.put("changing", DATA * 20)
    replaced = threading.Event()
    numbers = count()

    def fault(_, request):
        if not reads(request):
            return None
        if next(numbers) == 0:
            return first
        replaced.wait(5)
        return None

    def first(connection, answer):
        connection.sendall(answer)
        storage.put("changing", bytes(20 * len(DATA)))
        replaced.set()

    broken, _ = faulty(fault)
    with pytest.raises(StorageError, match="changing: the object was replaced while it was read"):
        broken.read_ranges("changing", [(0, 10), (13 << 20, (13 << 20) + 10)])
