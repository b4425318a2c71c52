"""A URL's content as a local file, downloaded once."""

from __future__ import annotations

import os
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from fastcollate.errors import InputError
from fastcollate.storage.local import default_cache

__all__ = ["downloaded", "fetch"]

_TIMEOUT_SECONDS = 30
_BLOCK_BYTES = 1 << 20


def fetch(url: str, *, cache_dir: Path | None = None) -> Path:
    """Return the local file with a URL's content: from the cache, or downloaded into it whole or not at all.

    Args:
        url: The address, http or https.
        cache_dir: The directory that keeps the file; by default `$FASTCOLLATE_CACHE_DIR`, else `fastcollate` in
            `$XDG_CACHE_HOME`, else in `~/.cache`.

    Raises:
        InputError: The URL cannot be read to its end (`no_download`), or the cache cannot be written.

    >>> fetch("ftp://x.org")
    Traceback (most recent call last):
    fastcollate.errors.InputError: ftp://x.org: cannot be downloaded: a URL must begin with http:// or https://
    """
    if not url.lower().startswith(("http://", "https://")):
        raise _failure(url, "a URL must begin with http:// or https://")
    folder = cache_dir or default_cache()
    target = folder / _file_name(url)
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _download(url, target)
        except OSError as error:  # the network's own failures are InputErrors by now
            raise _failure(
                url,
                f"the cache {folder} cannot be written ({error.strerror or error}); "
                "free space there or set FASTCOLLATE_CACHE_DIR to another directory",
            ) from error
    return target


@contextmanager
def downloaded(url: str) -> Iterator[Path]:
    """Lend the local file with a URL's content; one that turns out to be bad input is not kept.

    It may be an error page, or a damaged copy, or what the server mends meanwhile: the next try must not meet it.

    Raises:
        InputError: The URL cannot be read to its end (`no_download`), or the cache cannot be written.
    """
    path = fetch(url)
    try:
        yield path
    except InputError:
        with suppress(OSError):
            path.unlink()
        raise


def _file_name(url: str) -> str:
    """A name no other URL has, with an ending a person recognises."""
    tail = urllib.parse.unquote(url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2])
    return f"{sha256(url.encode()).hexdigest()[:16]}-{re.sub(r'[^A-Za-z0-9._-]', '_', tail)[-80:]}"


def _download(url: str, target: Path) -> None:
    """Write beside the target and rename: a reader, or a crash, never meets half a file."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for block in _blocks(url):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            Path(name).unlink()
        raise


def _blocks(url: str) -> Iterator[bytes]:
    """The body, as it comes in; an InputError for whatever keeps it from coming whole."""
    received = 0
    with _open(url) as response:
        while block := _read(url, response):
            received += len(block)
            yield block
        promised = response.headers.get("Content-Length")
    if promised is not None and promised.isdigit() and received != int(promised):
        raise _failure(url, f"the connection ended after {received} of {promised} bytes; try again")
    if not received:
        raise _failure(url, "the server sent an empty file; check the address")


def _open(url: str) -> HTTPResponse:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "fastcollate"})  # noqa: S310  # fetch checked the scheme
        response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise _failure(url, f"the server answered {error.code} {error.reason}; check the address") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(url, f"{_reason(error)}; check the address and the connection") from error
    if response.status != 200:
        response.close()
        raise _failure(url, f"the server answered {response.status} {response.reason}; 200 is needed")
    return response


def _read(url: str, response: HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(url, f"the connection broke ({_reason(error)}); try again") from error


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", error) or type(error).__name__).split())


def _failure(url: str, reason: str) -> InputError:
    return InputError(f"{url}: cannot be downloaded: {reason}", path=url, reason="no_download")
