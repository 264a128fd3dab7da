"""Objects of a bucket, and of a bucket behind a network that fails."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.s3_proxy import Fault, Proxy, proxy_of
from tests.s3_server import S3Server, environment, s3_running
from updater.errors import ConfigError, ServiceUnavailableError
from updater.objects.s3 import FIRST_BYTES, S3Objects
from updater.objects.s3_access import access_from
from updater.objects.s3_versions import versions_of

ODD_NAMES = ["a/b=c/d", "50%+ü x", "a.b-c_d~e", "ds=2024-01-01/bucket-000.parquet"]
FAULTS: tuple[Fault, ...] = ("503", "cut", "lost")
Open = Callable[[], S3Objects]
"""Opens the same store once more, as another process would."""


@pytest.fixture
def open_objects(s3_server: S3Server) -> Open:
    bucket = s3_server.bucket()
    return lambda: S3Objects(s3_server.access, bucket, "a prefix/of it")


@pytest.fixture
def proxied(s3_server: S3Server) -> Iterator[tuple[Proxy, S3Objects]]:
    with proxy_of(s3_server.port) as proxy:
        yield proxy, S3Objects(access_from(environment(proxy.port)), s3_server.bucket())


def test_what_is_put_is_read_whole_under_its_name(open_objects: Open) -> None:
    objects = open_objects()
    for number, name in enumerate(ODD_NAMES):
        objects.put(name, bytes([number]) * (number * 1000))
    assert [objects.get(name) for name in ODD_NAMES] == [bytes([n]) * (n * 1000) for n in range(4)]
    assert open_objects().list() == {name: 1000 * ODD_NAMES.index(name) for name in sorted(ODD_NAMES)}
    objects.put(ODD_NAMES[0], b"again")
    assert open_objects().get(ODD_NAMES[0]) == b"again"


def test_a_listing_keeps_to_its_directory_and_sees_at_once_what_others_do(open_objects: Open) -> None:
    one, other = open_objects(), open_objects()
    for name in ("a/b", "a/b/c", "a/bc", "ab/c"):
        one.put(name, b"x")
    assert list(other.list("a/b")) == ["a/b/c"]
    assert list(other.list("a")) == ["a/b", "a/b/c", "a/bc"]
    other.delete(["a/b/c", "a/nothing"])
    assert list(one.list("a/b")) == list(one.list("nowhere")) == []


def test_a_copy_is_the_object_and_needs_one(open_objects: Open) -> None:
    objects = open_objects()
    objects.put("from/x", b"content")
    objects.put("to/y", b"former")
    objects.copy("from/x", "to/y")
    assert objects.get("to/y") == b"content"
    with pytest.raises(FileNotFoundError):
        objects.copy("from/nothing", "to/z")
    with pytest.raises(FileNotFoundError):
        objects.get("to/z")


def test_a_large_object_is_never_seen_in_part(open_objects: Open) -> None:
    writer, reader = open_objects(), open_objects()
    contents = [bytes([n]) * (6 << 20) for n in range(3)]
    writer.put("large", contents[0])
    done = Event()

    def write() -> None:
        for content in contents[1:]:
            writer.put("large", content)
        done.set()

    thread = Thread(target=write)
    thread.start()
    while not done.is_set():
        assert reader.get("large") in contents
    thread.join()


def test_a_deleted_object_is_gone_in_all_its_versions(s3_server: S3Server) -> None:
    bucket, access = s3_server.bucket(versions=True), s3_server.access
    objects = S3Objects(access, bucket)
    for content in (b"one", b"two", b"three"):
        objects.put("user/1", content)
    objects.put("user/10", b"another")
    assert len(versions_of(access, bucket, "user/1")) == 3
    objects.delete(["user/1"])
    assert versions_of(access, bucket, "user/1") == []
    assert list(objects.list()) == ["user/10"]
    assert len(versions_of(access, bucket, "user/10")) == 1


def test_parts_of_an_object_cost_what_they_are(proxied: tuple[Proxy, S3Objects]) -> None:
    proxy, objects = proxied
    content = bytes(range(256)) * (FIRST_BYTES // 256 + 1)
    for name, value in (("small", b"xyz"), ("empty", b""), ("large", content)):
        objects.put(name, value)
    proxy.requests.clear()
    assert objects.first_bytes("small") == (b"xyz", 3)
    assert proxy.requests.total() == 1
    assert objects.first_bytes("empty") == (b"", 0)
    assert objects.first_bytes("large") == (content[:FIRST_BYTES], len(content))
    assert objects.bytes_between("large", 300, 303) == content[300:303]
    assert [objects.size(name) for name in ("small", "empty", "nothing")] == [3, 0, None]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_no_answer(proxied: tuple[Proxy, S3Objects], fault: Fault) -> None:
    proxy, objects = proxied
    for kind in ("PUT", "GET", "LIST", "COPY", "HEAD"):
        proxy.plan(kind, fault, times=2)
    objects.put("name", b"x" * 100_000)
    proxy.plan("PUT", fault, times=2)
    objects.put("name", b"z" * 100_000)
    assert objects.get("name") == b"z" * 100_000
    objects.copy("name", "copy")
    assert objects.list() == {"copy": 100_000, "name": 100_000}
    assert objects.get("copy") == b"z" * 100_000
    assert objects.size("copy") == 100_000
    objects.delete(["name"])
    assert list(objects.list()) == ["copy"]
    assert proxy.faults.total() >= 10


def test_wrong_credentials_and_places_are_said(s3_server: S3Server) -> None:
    wrong = access_from({**s3_server.environment, "AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(ConfigError, match="check the credentials"):
        S3Objects(wrong, s3_server.bucket()).list()
    with pytest.raises(ConfigError, match="has no bucket 'no-such-bucket'"):
        S3Objects(s3_server.access, "no-such-bucket").list()
    with pytest.raises(ConfigError, match=r"\$AWS_SECRET_ACCESS_KEY is not set"):
        access_from({"AWS_ACCESS_KEY_ID": "x"})
    with pytest.raises(ConfigError, match=r"\$AWS_ENDPOINT_URL is 'localhost:9000'"):
        access_from({**s3_server.environment, "AWS_ENDPOINT_URL": "localhost:9000"})


@pytest.mark.slow
@pytest.mark.campaign
def test_a_killed_server_comes_back_to_a_client_that_waits(tmp_path: Path) -> None:
    with s3_running(tmp_path / "server") as server:
        objects = S3Objects(server.access, server.bucket())
        objects.put("before", b"x")
        server.kill()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(objects.put, "meanwhile", b"y")
            server.start()
            waiting.result()
        assert objects.list() == {"before": 1, "meanwhile": 1}


def test_a_server_that_stays_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("updater.objects.s3.RETRIES", {"max_retries": 0})
    objects = S3Objects(access_from(environment(1)), "bucket")
    for call in (lambda: objects.put("name", b""), objects.list):
        with pytest.raises(ServiceUnavailableError, match="check that it runs"):
            call()
