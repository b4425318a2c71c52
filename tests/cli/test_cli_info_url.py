"""`info` reads the manifest of a store in an object store, and nothing else of it."""

import json

import pytest
from commands import run
from far_stores import upload
from object_server import settings

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


def test_a_plan_of_a_store_in_a_bucket_is_that_of_its_directory(bucket, server, store, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCOLLATE_CACHE_DIR", str(tmp_path))
    url = upload(store.path, f"{bucket}/store", settings(server))
    how = ["--max-tokens", "2000", "--json"]
    told = ["--storage-options", f"key=a,secret=b,region=us-east-1,endpoint_url={server}"]
    here, there = (run("plan", *where, *how) for where in ([store.path], [url, *told]))
    assert there[0] == here[0] == 0
    found, wanted = (json.loads(out) for _, out, _ in (there, here))
    assert {name for name in found if found[name] != wanted[name]} <= {
        n for n in found if n.startswith("planning_")
    }
    assert json.loads(run("info", url, *told, "--json")[1])["fingerprint"] == store.fingerprint
