"""What a source behind a URL becomes: a file in the cache, whole or not at all."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fastcollate.errors import InputError
from fastcollate.sources.resolve import resolve
from fastcollate.sources.source import read_chunks
from fastcollate.storage import http
from fastcollate.storage.http import fetch

RULE = "a file holds one JSON array of objects, or JSON Lines: one object a line"


def read(source) -> list[tuple]:
    return [(chunk.origin.at(0), chunk.records) for chunk in read_chunks(resolve(source))]


def error_of(source) -> InputError:
    with pytest.raises(InputError) as caught:
        read(source)
    assert "\n" not in str(caught.value)
    return caught.value


def assert_error(source, reason: str, message: str) -> None:
    error = error_of(source)
    assert (error.reason, str(error)) == (reason, message)


@contextmanager
def serving(body: bytes, *, status: int = 200, length: int | None = None):
    """A server with one answer to everything: its address, and the paths it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_url_is_downloaded_once(cache):
    with serving(b'{"a": 1}\n') as (server, asked):
        url = f"{server}/some/data%20set.jsonl?raw=true"
        first, second = read(url), read([url])
    assert first == second == [(f"{url}, line 1", [{"a": 1}])]
    assert asked == ["/some/data%20set.jsonl?raw=true"]
    (file,) = cache.iterdir()
    assert file.name[16:] == "-data_set.jsonl"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"body": b"no", "status": 404}, "the server answered 404 Not Found; check the address"),
        ({"body": b"", "status": 204}, "the server answered 204 No Content; 200 is needed"),
        ({"body": b"[{}", "length": 99}, "the connection ended after 3 of 99 bytes; try again"),
        ({"body": b""}, "the server sent an empty file; check the address"),
    ],
)
def test_a_failed_download_leaves_nothing(cache, answer, why):
    with serving(**answer) as (server, _):
        url = f"{server}/data.json"
        assert_error(url, "no_download", f"{url}: cannot be downloaded: {why}")
    assert list(cache.iterdir()) == []


def test_a_refused_connection_names_the_url(cache):
    with serving(b"") as (server, _):
        pass
    error = error_of(server)
    assert (error.reason, error.path) == ("no_download", server)
    assert str(error).startswith(f"{server}: cannot be downloaded: ")
    assert str(error).endswith("Connection refused; check the address and the connection")


@pytest.mark.parametrize(
    "url", ["http://", "https://a b/c", "http://[::1/x", "http://x:port/", "ftp://x/y", "hdfs://b/k"]
)
def test_a_bad_url_is_refused(cache, url):
    error = error_of(url)
    assert (error.reason, error.path) == ("no_download", url)
    assert str(error).startswith(f"{url}: cannot be downloaded: ")


def test_a_page_instead_of_data_names_the_url_and_is_not_kept(cache):
    with serving(b"<html>Sign in</html>") as (server, asked):
        url = f"{server}/data.json"
        for _ in range(2):
            assert_error(url, "not_json", f"{url}, line 1: not JSON (it looks like an HTML page): {RULE}")
    assert len(asked) == 2
    assert list(cache.iterdir()) == []


def test_a_copy_with_a_bad_line_is_kept_only_by_those_who_skip_it(cache):
    with serving(b'{"a": 1}\noops\n') as (server, asked):
        url = f"{server}/data.jsonl"
        for _ in range(2):
            (chunk,) = read_chunks(resolve(url), skip=True)
            assert [(row.row, row.reason, row.record) for row in chunk.rejected] == [(1, "not_json", "oops")]
        assert (len(asked), len(list(cache.iterdir()))) == (1, 1)
        for _ in range(2):
            assert error_of(url).row == 2
        assert (len(asked), list(cache.iterdir())) == (2, [])


def test_an_interrupted_download_leaves_nothing(cache, monkeypatch):
    def interrupt(_):
        yield b"half"
        raise KeyboardInterrupt

    monkeypatch.setattr(http, "_blocks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("http://example.org/data.json")
    assert list(cache.iterdir()) == []


def test_the_cache_has_an_order_of_places(monkeypatch, tmp_path, cache):
    with serving(b"[]") as (url, _):
        assert fetch(url, cache_dir=tmp_path / "mine").parent == tmp_path / "mine"
        assert fetch(url).parent == cache
        monkeypatch.delenv("FASTCOLLATE_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert fetch(url).parent == tmp_path / "xdg/fastcollate"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert fetch(url).parent == tmp_path / ".cache/fastcollate"


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        fetch("http://x/y", cache_dir=tmp_path / "file")
    assert str(caught.value) == (
        f"http://x/y: cannot be downloaded: the cache {tmp_path / 'file'} cannot be written (File exists); "
        "free space there or set FASTCOLLATE_CACHE_DIR to another directory"
    )
