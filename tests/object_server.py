"""A server of S3 on this machine, and a proxy before it that does what networks do."""

import logging
import socket
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from unittest.mock import patch

CLOUD = "needs the extra cloud: pip install 'fastcollate[cloud]'"


def answer(status, code):
    """An answer that says what went wrong."""
    body = f"<Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


BUSY = answer("503 Slow Down", "SlowDown")
DENIED = answer("403 Forbidden", "InvalidAccessKeyId")


@contextmanager
def s3_server():
    """The address of an empty server."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    put, one = S3Response.put_object, threading.Lock()

    def in_turn(request):
        with one:  # to look whether there is an object, and to write it, is one thing for S3
            return put(request)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with patch.object(S3Response, "put_object", in_turn):
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


def ask(address, path, method="GET"):
    """The answer to a request that nobody signed."""
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{path}", method=method)) as response:
        return response.read()


def settings(address, **more):
    return {"key": "a", "secret": "b", "region": "us-east-1", "endpoint_url": address, **more}


class Proxy:
    """What stands between a client and a server: one request a connection, each by `fault(number, request)`.

    The fault returns None to pass the request on, bytes to answer it, or a function of the connection and the
    server's whole answer.
    """

    def __init__(self, address, fault):
        self._upstream = tuple(address.removeprefix("http://").split(":"))
        self._fault = fault
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests, self.sent = [], 0
        self._over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        self._over.set()
        self._listener.close()

    def stall(self, *_):
        """Say nothing, until the proxy is closed."""
        self._over.wait(30)

    def cut(self, connection, answer):
        """Send the head, half of the body, and close."""
        head = answer.index(b"\r\n\r\n") + 4
        connection.sendall(answer[: head + (len(answer) - head) // 2])

    def halt(self, connection, answer):
        """Send half, and then nothing."""
        self.cut(connection, answer)
        self.stall()

    def delay(self, connection, answer):
        time.sleep(0.2)
        connection.sendall(answer)

    def lose(self, *_):
        """Close without a word: what was asked for is done."""

    def _listen(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            request = _request(connection)
            if not request:
                return
            number = len(self.requests)
            self.requests.append(request)
            fault = self._fault(number, request)
            if isinstance(fault, bytes):
                connection.sendall(fault)
                return
            answer = self._passed_on(request)
            self.sent += len(answer)
            if fault is None:
                connection.sendall(answer)
            else:
                fault(connection, answer)

    def _passed_on(self, request):
        with socket.create_connection(self._upstream) as upstream:
            head, _, body = request.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            upstream.sendall(b"\r\n".join([*lines, b"Connection: close", b"", body]))
            return b"".join(iter(lambda: upstream.recv(1 << 16), b""))


def _request(connection):
    """A request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(1 << 16)
        if not block:
            return b""
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while left > 0:
        block = connection.recv(1 << 16)
        data, left = data + block, left - len(block)
    return data
