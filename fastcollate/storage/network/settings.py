"""From a URL and `storage_options` to what a client of an object store is made with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple

from fastcollate.arguments import check_count, check_seconds
from fastcollate.errors import InputError

__all__ = ["Settings", "read_settings", "unknown_setting"]

_KINDS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
}
# What users of s3fs, gcsfs and adlfs call what obstore calls otherwise, and what obstore has several names for.
_OTHER_NAMES = {
    "s3": {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "anon": "skip_signature",
        "region_name": "region",
        "endpoint": "aws_endpoint_url_s3",  # which nothing in the environment overrides
        "endpoint_url": "aws_endpoint_url_s3",
        "aws_endpoint": "aws_endpoint_url_s3",
        "aws_endpoint_url": "aws_endpoint_url_s3",
    },
    "gs": {
        "token": "bearer_token",
        "anon": "skip_signature",
        "endpoint_url": "base_url",
        "google_base_url": "base_url",
    },
    "az": {
        "anon": "skip_signature",
        "endpoint_url": "endpoint",
        "azure_endpoint": "endpoint",
        "azure_storage_endpoint": "endpoint",
    },
}
_OF_CLIENT = frozenset(
    {
        "allow_invalid_certificates",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "root_certificate",
        "user_agent",
    }
)
_OF_URL = frozenset({"bucket", "bucket_name", "container", "container_name"})
# The setting that says where requests go, and the environment variables for it, the first of which counts.
_ENDPOINTS = {
    "s3": ("aws_endpoint_url_s3", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")),
    "gs": ("base_url", ("GOOGLE_BASE_URL",)),
    "az": ("endpoint", ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")),
}
_SECONDS = 60.0
_RETRIES = 10
_CONNECT_SECONDS = 5.0


class Settings(NamedTuple):
    """What a client is made with.

    Attributes:
        kind: `"s3"`, `"gs"` or `"az"`.
        bucket: The bucket, or the container.
        prefix: What the names of its objects begin with, without `/` at the end; empty for the whole bucket.
        config: The settings of the object store, by name.
        client: The settings of connections, by name.
        retries: How often a request is tried again.
        seconds: The deadline of a call.
    """

    kind: str
    bucket: str
    prefix: str
    config: tuple[tuple[str, str], ...]
    client: tuple[tuple[str, Any], ...]
    retries: int
    seconds: float


def read_settings(url: str, storage_options: Mapping[str, Any] | None = None) -> Settings:
    """Return what a client is made with.

    Args:
        url: The URL of a bucket, or of a prefix in it.
        storage_options: Settings by name: `timeout`, the seconds that a call may take with all its tries (60 by
            default); `max_retries` (10); those of s3fs, gcsfs and adlfs such as `key`, `secret`, `token`, `anon`
            and `endpoint_url`; those of a connection such as `proxy_url`; and all of obstore's `S3Config`,
            `GCSConfig` and `AzureConfig`. What is not given here comes from environment variables, such as
            `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL`. An endpoint that
            begins with `http://` needs no further permission.

    Raises:
        InputError: The URL has no bucket, a setting is no plain value, or the endpoint is no address.

    >>> settings = read_settings("s3://bucket/a/b/", {"key": "k", "secret": "s", "timeout": 20})
    >>> settings.bucket, settings.prefix, dict(settings.config), settings.seconds
    ('bucket', 'a/b', {'access_key_id': 'k', 'secret_access_key': 's'}, 20.0)
    """
    scheme, _, place = url.partition("://")
    bucket, _, prefix = place.partition("/")
    kind = _KINDS[scheme.lower()]
    options = _plain(storage_options)
    seconds = check_seconds("storage_options['timeout']", options.pop("timeout", _SECONDS))
    retries = check_count("storage_options['max_retries']", options.pop("max_retries", _RETRIES))
    client = {name: options.pop(name) for name in sorted(options) if name in _OF_CLIENT}
    allowed = options.pop("allow_http", os.environ.get("AWS_ALLOW_HTTP", "false"))
    config = {_OTHER_NAMES[kind].get(name.lower(), name.lower()): _text(value) for name, value in options.items()}
    if kind == "az" and "@" in bucket:  # abfs://container@account.dfs.core.windows.net/prefix
        bucket, _, host = bucket.partition("@")
        config.setdefault("account_name", host.partition(".")[0])
    if not bucket:
        raise InputError(f"{url}: names no bucket: write {scheme}://bucket/prefix", path=url, reason="bad_source")
    if allowed in (True, "true", "True", "1") or _endpoint(kind, config).startswith("http://"):
        client["allow_http"] = True
    client["connect_timeout"] = timedelta(seconds=min(_CONNECT_SECONDS, seconds))
    client["timeout"] = timedelta(seconds=seconds / 2)  # of one request: a silent one leaves time for another
    fixed = tuple(sorted(config.items())), tuple(sorted(client.items()))
    return Settings(kind, bucket, prefix.strip("/"), *fixed, retries, seconds)


def unknown_setting(name: str, kind: str) -> InputError:
    """Return the error for a setting that nobody knows.

    >>> print(unknown_setting("regoin", "s3"))
    storage_options has 'regoin', which is no setting of s3:// (is 'region' meant?): give settings of obstore's
    S3Config, or timeout, max_retries, proxy_url ...
    """
    usual = [
        "access_key_id",
        "secret_access_key",
        "session_token",
        "region",
        "endpoint",
        "account_name",
        "account_key",
    ]
    near = get_close_matches(name, [*usual, *_OTHER_NAMES[kind], *_OF_CLIENT, "timeout", "max_retries"], 1)
    meant = f" (is {near[0]!r} meant?)" if near else ""
    made_by = {"s3": "S3Config", "gs": "GCSConfig", "az": "AzureConfig"}[kind]
    return InputError(
        f"storage_options has {name!r}, which is no setting of {kind}://{meant}: give settings of obstore's "
        f"{made_by}, or timeout, max_retries, proxy_url ..."
    )


def _plain(storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the options, each a name and a plain value."""
    if storage_options is not None and not isinstance(storage_options, Mapping):
        raise InputError(f"storage_options is a {type(storage_options).__name__}: give a dict of settings by name")
    options = dict(storage_options or {})
    for name, value in options.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool):
            raise InputError(
                f"storage_options[{name!r}] is a {type(value).__name__}: settings are strings, numbers, or True "
                "and False; leave one out to have it from the environment"
            )
        if name in _OF_URL:
            raise InputError(f"storage_options has {name!r}, which the URL names already: leave it out")
    return options


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _endpoint(kind: str, config: Mapping[str, str]) -> str:
    """Where requests go, if it was said; the environment counts where the settings say nothing."""
    setting, variables = _ENDPOINTS[kind]
    said = {f"storage_options['{setting}']": config[setting]} if setting in config else {}
    said = said or {name: os.environ[name] for name in variables if name in os.environ}
    for name, value in said.items():
        if not value.lower().startswith(("http://", "https://")):
            raise InputError(f"{name} is {value!r}: it must be an address, such as https://minio.example.org:9000")
        return value.lower()
    return ""
