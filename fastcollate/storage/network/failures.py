"""What a client of an object store says went wrong, in our own words."""

from __future__ import annotations

import re

from fastcollate.errors import StorageError

__all__ = ["BrokenError", "MissingError", "ReplacedError", "object_error"]

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_METADATA = ("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "metadata endpoint")
_BUSY = {"429", "503"}
_CREDENTIALS = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the store's own variables), or key and secret of "
    "storage_options, and what they allow"
)
_BROKE = "the connection broke before"
_NO_OBJECT = "there is no such object"
_NO_BYTES = "the object ends before the bytes that are asked for"
_LATER = "try again, or give storage_options a longer timeout"
# What the text of an error has in it, and what that means; the first that fits counts.
_MEANINGS = (
    ("Could not parse path", "an object cannot have this name: leave out empty parts, `.` and `..`"),
    (
        "Received redirect",
        "the bucket is in another region, or at another address: set AWS_REGION or the region of storage_options",
    ),
    ("ConnectionRefused", "the server refuses connections: check the endpoint, and that the server runs"),
    ("dns error", "the server's name is unknown: check the endpoint and the network"),
    (
        "NotPartial",
        "the server gives no parts of objects: use another server, or copy the data",
    ),
    ("UnexpectedRange", "the server sent another part of the object than was asked for: use another server"),
    ("kind: Timeout", f"the server did not answer in time: {_LATER}"),
    ("TimedOut", f"the server did not answer in time: {_LATER}"),
    ("kind: Connect", "no connection can be made: check the endpoint and the network"),
    ("body error", f"{_BROKE} the whole answer had come: try again"),
    ("error sending request", f"{_BROKE} an answer came: try again"),
    ("builder error", "the endpoint is no address: it begins with https:// (or http://, with allow_http)"),
    ("MissingAccount", "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or account_name of storage_options"),
    ("MissingSecretAccessKey", "the access key has no secret: set AWS_SECRET_ACCESS_KEY, or give both as options"),
    ("MissingAccessKeyId", "the secret has no access key: set AWS_ACCESS_KEY_ID, or give both as options"),
)


class BrokenError(StorageError):
    """A `BrokenError` says that a connection broke before all had come."""


class MissingError(StorageError):
    """A `MissingError` says that an object, or the bytes of it that are asked for, are not there."""


class ReplacedError(StorageError):
    """A `ReplacedError` says that an object is no longer the one that was read before."""

    @classmethod
    def of(cls, url: str) -> ReplacedError:
        """Return the error for the object at `url`."""
        return cls(f"{url}: the object was replaced while it was read: begin again, when nobody writes there")


def object_error(url: str, error: BaseException, seconds: float) -> StorageError:
    """Return our own error for what went wrong at `url`.

    Args:
        url: The bucket, prefix or object.
        error: What the client raised, which is known by its class's name and its text.
        seconds: The deadline of a call.

    >>> print(object_error("s3://bucket/a.json", FileNotFoundError("<Code>NoSuchKey</Code>"), 60))
    s3://bucket/a.json: there is no such object: check the name
    >>> print(object_error("s3://bucket/a.json", TimeoutError(), 60))
    s3://bucket/a.json: the server did not answer within 60 seconds: try again, or give storage_options a longer
    timeout
    """
    if type(error).__name__ == "PreconditionError":
        return ReplacedError.of(url)
    what = _what(error, str(error), seconds)
    kinds = {_NO_OBJECT: MissingError, _NO_BYTES: MissingError, _BROKE: BrokenError}
    return next((kind for sign, kind in kinds.items() if what.startswith(sign)), StorageError)(f"{url}: {what}")


def _what(error: BaseException, text: str, seconds: float) -> str:
    kind = type(error).__name__
    found, coded = _STATUS.search(text), _CODE.search(text)
    status, code = found[1] if found else "", coded[1] if coded else ""
    if kind == "TimeoutError":
        long = f"{seconds:g} seconds"
        return f"the server did not answer within {long}: {_LATER}"
    if any(address in text for address in _METADATA):
        return (
            "no credentials were found, nor are there any of this machine: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, "
            'or give {"key": ..., "secret": ...} (or {"anon": True} for public data) as storage_options'
        )
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return "there is no such bucket: check its name and the endpoint"
    if kind in ("FileNotFoundError", "NotFoundError") or status == "404":
        return f"{_NO_OBJECT}: check the name"
    return _of_status(status, code) or _of_text(kind, text)


def _of_status(status: str, code: str) -> str:
    if status == "416":
        return f"{_NO_BYTES}: it was replaced, or another one is meant"
    answer = f"{status} ({code})" if code else status
    if status in ("401", "403"):
        return f"the server refuses the credentials, or does not allow this: it answered {answer}: {_CREDENTIALS}"
    if status in _BUSY:
        return f"the server is busy: it answered {answer} to every try: {_LATER}"
    if status.startswith("5"):
        return f"the server failed: it answered {answer} to every try: try again later"
    return f"the server answered {answer}: check the endpoint and the options" if status else ""


def _of_text(kind: str, text: str) -> str:
    for sign, meaning in _MEANINGS:
        if sign in text:
            return meaning
    first = " ".join(text.partition("Debug source")[0].split())[:200]
    return f"the object store's client failed ({kind}: {first}): check the URL and the options"
