"""A bucket far away: files of a directory as objects, each answer so many seconds late, in its own process.

`python -m benchmarks.harness.slow_bucket DIRECTORY SECONDS` prints its port. `GET /sent` tells the bytes of all
bodies so far, and `GET /asked` how many requests there were.
"""

import asyncio
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.sax.saxutils import escape

_RANGE = re.compile(r"\r\nrange: bytes=(\d+)-(\d+)", re.IGNORECASE)
_BUFFER = 1 << 26


class Bucket:
    """What one server has, and what it has sent."""

    def __init__(self, directory, seconds):
        self.files = {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}
        self.seconds, self.sent, self.asked = seconds, 0, 0

    async def serve(self, reader, writer):
        writer.transport.set_write_buffer_limits(high=_BUFFER)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
                head, body = self.answer(*request.split(" ", 2))
                if not request.startswith(("GET /sent", "GET /asked")):
                    self.asked, self.sent = self.asked + 1, self.sent + len(body)
                    await asyncio.sleep(self.seconds)
                writer.write(head)
                writer.write(body)
                await writer.drain()
        writer.close()

    def answer(self, method, path, rest):
        place, _, query = path.partition("?")
        name = place.rpartition("/")[2]
        if name in ("sent", "asked"):
            return _head("200 OK", "text/plain", count := str(getattr(self, name)).encode()), count
        if "list-type" in query:
            return _head("200 OK", "application/xml", listing := self.listing().encode()), listing
        data = self.files.get(name)
        if data is None:
            return _head("404 Not Found", "application/xml", b""), b""
        asked = _RANGE.search(rest)
        if asked is None:
            return _head("200 OK", "binary/octet-stream", data), b"" if method == "HEAD" else data
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        part = memoryview(data)[first : last + 1]
        where = f"Content-Range: bytes {first}-{last}/{len(data)}\r\n"
        return _head("206 Partial Content", "binary/octet-stream", part, where), part

    def listing(self):
        each = "".join(
            f"<Contents><Key>store/{escape(name)}</Key><Size>{len(data)}</Size><ETag>&quot;x&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name, data in self.files.items()
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{each}</ListBucketResult>"


def _head(status, kind, body, more=""):
    return (
        f'HTTP/1.1 {status}\r\nETag: "x"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    ).encode()


class Running:
    """A server that runs, as `storage_options`, and what it counted."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        self.url = "s3://bucket/store"
        self.options = {"key": "a", "secret": "b", "region": "us-east-1", "endpoint_url": self.address}

    def counted(self, what):
        """`"sent"` bytes, or requests `"asked"`."""
        with urllib.request.urlopen(f"{self.address}/{what}") as answer:
            return int(answer.read())


@contextmanager
def slow_bucket(directory, seconds):
    """Serve a directory, each answer late by so many seconds."""
    command = [sys.executable, "-m", __name__, str(directory), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            yield Running(int(process.stdout.readline()))
        finally:
            process.kill()


async def _main(directory, seconds):
    server = await asyncio.start_server(Bucket(directory, seconds).serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2])))
