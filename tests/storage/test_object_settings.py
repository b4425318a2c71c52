"""Where credentials and endpoints come from, and what is said where they are missing or wrong."""

import sys

import pytest
from object_server import CLOUD, settings

from fastcollate.errors import InputError, StorageError
from fastcollate.storage.storage import is_object_url, open_storage, parent_and_name


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def obstore():
    return pytest.importorskip("obstore", reason=CLOUD)


def test_the_environment_is_enough(bucket, server, monkeypatch):
    """An endpoint that begins with http:// needs no further word."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert open_storage(bucket).put("a", b"1")
    assert open_storage(f"{bucket}/").sizes() == {"a": 1}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="refuses connections"):
        open_storage(bucket, {"timeout": 0.3}).sizes()


@pytest.mark.parametrize(
    "names",
    [
        ("key", "secret", "endpoint_url", "region_name"),
        ("access_key_id", "secret_access_key", "endpoint", "region"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"),
    ],
)
def test_options_have_the_names_that_their_users_know(bucket, server, names, monkeypatch):
    """They override the environment."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    options = dict(zip(names, ("a", "b", server, "us-east-1"), strict=True))
    assert open_storage(bucket, options | {"timeout": 5, "max_retries": 0}).sizes() == {}


def test_public_data_needs_no_credentials(bucket, server):
    assert open_storage(bucket, {"anon": True, "endpoint_url": server}).sizes() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regoin": "x"}, r"storage_options has 'regoin', which is no setting of s3:// \(is 'region' meant\?\)"),
        ({"client_kwargs": {}}, r"storage_options\['client_kwargs'\] is a dict: settings are strings, numbers"),
        ({"bucket": "x"}, "storage_options has 'bucket', which the URL names already: leave it out"),
        (
            {"endpoint_url": "minio:9000"},
            r"storage_options\['aws_endpoint_url_s3'\] is 'minio:9000': it must be an address",
        ),
        ({3: "x"}, r"storage_options\[3\] is a str"),
        ({"timeout": 0}, r"storage_options\['timeout'\] is 0: it must be a number of seconds, above 0"),
        ({"max_retries": -1}, r"storage_options\['max_retries'\] is -1"),
        ([("key", "a")], "storage_options is a list: give a dict of settings by name"),
    ],
)
def test_a_wrong_setting_is_named(obstore, options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        open_storage("s3://bucket/a", options)


def test_a_wrong_variable_of_the_environment_is_named(obstore, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    with pytest.raises(InputError, match=r"^AWS_ENDPOINT_URL is '': it must be an address, such as https://"):
        open_storage("s3://bucket")


def test_a_setting_that_is_missing_is_named(obstore):
    with pytest.raises(
        StorageError, match=r"^s3://bucket: the access key has no secret: set AWS_SECRET_ACCESS_KEY"
    ):
        open_storage("s3://bucket", {"key": "a"})
    with pytest.raises(StorageError, match=r"^az://box: no account is named: set AZURE_STORAGE_ACCOUNT_NAME"):
        open_storage("az://box")
    with pytest.raises(InputError, match=r"^s3:///a: names no bucket: write s3://bucket/prefix"):
        open_storage("s3:///a")


def test_no_credentials_at_all_are_told_in_time(obstore):
    """The machine's own are asked for, at an address that nobody answers here."""
    nobody = {"endpoint_url": "http://127.0.0.1:9", "metadata_endpoint": "http://127.0.0.1:9", "timeout": 0.5}
    with pytest.raises(
        StorageError, match=r"^s3://bucket: (no credentials were found|the server refuses connections)"
    ):
        open_storage("s3://bucket", nobody).sizes()


@pytest.mark.parametrize(
    "url", ["gs://bucket/a", "az://box/a", "abfs://box/a", "abfss://box@account.dfs.core.windows.net/a"]
)
def test_other_stores_are_opened_by_their_schemes(obstore, url):
    account = {"account_name": "account", "account_key": "a2V5"} if url.startswith("a") else {"anon": True}
    account = {} if "@" in url else account
    assert open_storage(url, account).url == url


def test_an_account_in_the_url_is_used(before):
    proxy = before(lambda *_: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    options = {"endpoint": proxy.address, "account_key": "a2V5", "timeout": 2}
    assert open_storage("abfss://box@name.dfs.core.windows.net/a", options).look_up("b") is None
    assert proxy.requests[0].startswith(b"HEAD /box/a/b HTTP")
    assert b"SharedKey name:" in proxy.requests[0]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    message = (
        r"^s3://bucket/a: object storage needs the package obstore, which is not here: "
        r"pip install 'fastcollate\[cloud\]'$"
    )
    with pytest.raises(StorageError, match=message):
        open_storage("s3://bucket/a")


def test_a_missing_bucket_and_a_bad_name_are_told(bucket, options):
    with pytest.raises(StorageError, match=r"^s3://no-such/a: there is no such bucket: check its name"):
        open_storage("s3://no-such/a", options).sizes()
    with pytest.raises(StorageError, match=r"^s3://no-such/a: there is no such bucket: check its name"):
        open_storage("s3://no-such", options).put("a", b"")
    with pytest.raises(StorageError, match="an object cannot have this name"):
        open_storage(bucket, options).put("a//b", b"")


def test_secrets_are_not_shown(bucket, server):
    options = settings(server, secret="hush")
    assert "hush" not in repr(open_storage(bucket, options))


def test_urls_are_told_apart():
    assert [is_object_url(url) for url in ("S3://b", "s3a://b/c", "gs://b", "abfss://b", "s3:/b", "a/s3://b")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert parent_and_name("s3://b/") == ("s3://b", "")
    assert parent_and_name("s3://b/a/") == ("s3://b/a", "")
