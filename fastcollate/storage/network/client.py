"""The client of an object store: obstore's, which is an extra."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

from fastcollate.errors import StorageError
from fastcollate.storage.network.failures import object_error
from fastcollate.storage.network.settings import Settings, unknown_setting

__all__ = ["connected", "library"]

_OF_OBJECT_STORES = ("AWS_", "AZURE_", "GOOGLE_")
_KEPT = 32  # clients, each with its open connections


def library(url: str) -> Any:
    """Return obstore.

    Raises:
        StorageError: It is not installed.
    """
    try:
        return import_module("obstore")
    except ImportError as error:
        raise StorageError(
            f"{url}: object storage needs the package obstore, which is not here: pip install 'fastcollate[cloud]'"
        ) from error


def connected(settings: Settings, url: str) -> Any:
    """Return the client of a bucket; one that is there is used again, with its connections.

    Raises:
        InputError: A setting is unknown.
        StorageError: A setting is missing, or wrong.
    """
    environment = sorted(item for item in os.environ.items() if item[0].startswith(_OF_OBJECT_STORES))
    try:
        return _client(settings._replace(prefix=""), tuple(environment))
    except Exception as error:
        if type(error).__name__ == "UnknownConfigurationKeyError":
            named = re.search("key: '(.*?)'", str(error))
            raise unknown_setting(named[1] if named else "", settings.kind) from error
        raise object_error(url, error, settings.seconds) from error


@lru_cache(_KEPT)
def _client(settings: Settings, environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001  # which obstore reads
    stores = import_module("obstore.store")
    kind = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[settings.kind]
    first = timedelta(seconds=min(0.2, settings.seconds / 20))
    return kind(
        settings.bucket,
        config=dict(settings.config),
        client_options=dict(settings.client),
        retry_config={
            "max_retries": settings.retries,
            "retry_timeout": timedelta(
                seconds=0.7 * settings.seconds
            ),  # so that the last failure is told, not the deadline
            "backoff": {"init_backoff": first, "max_backoff": timedelta(seconds=settings.seconds / 6), "base": 2},
        },
    )
