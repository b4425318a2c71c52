"""`info` reads the manifest of a store in an object store, and nothing else of it."""

import json

import pytest
from commands import run

from fastcollate.storage.storage import open_storage


@pytest.fixture
def around(bucket, server, monkeypatch):
    """The bucket, with credentials in the environment."""
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": server}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return bucket


def test_a_manifest_alone_is_enough(around, store):
    url = f"{around}/deep/store"
    assert open_storage(url).put("manifest.json", (store.path / "manifest.json").read_bytes())
    here, there = run("info", store.path, "--json"), run("info", url, "--json")
    assert there[0] == here[0] == 0
    assert json.loads(there[1]) == json.loads(here[1]) | {"path": url}
    assert run("info", url)[1].splitlines()[1:] == run("info", store.path)[1].splitlines()[1:]


def test_what_is_no_store_is_told(around):
    url = f"{around}/store"
    message = f"fastcollate: {url} holds no store: give the prefix that `fastcollate prepare` wrote to\n"
    assert run("info", url) == (1, "", message)
    open_storage(url).put("shard-00000.arrow", b"1")
    assert "has no manifest.json: its writer was stopped before it finished" in run("info", url)[2]
    open_storage(url).put("manifest.json", b"{")
    code, out, err = run("info", url)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"fastcollate: {url}/manifest.json")
