"""Objects in an S3 bucket, or in any store with S3's interface, through obstore."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from updater.errors import ConfigError, ServiceUnavailableError
from updater.objects.s3_access import Access, access_from
from updater.objects.s3_versions import delete_versions, keeps_versions, request, versions_below

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

RETRIES: "RetryConfig" = {
    "max_retries": 1000,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2},
}
"""A server that is started again has a minute until it answers."""
FIRST_BYTES = 4 << 20
"""Read of an object in a first request, which also says how large it is; most objects are smaller."""


class S3Objects:
    """Objects below a prefix of a bucket. Names are relative to it, with `/` between their parts.

    A reader finds an object whole or not at all, whoever is putting it. A request that is refused for a moment, or
    whose answer is lost, is made again.

    Args:
        access: where the bucket is.
        bucket: its name.
        prefix: of all names; empty for the whole bucket.

    Raises:
        ConfigError: by any call: the bucket is not there, or refuses the credentials.
        ServiceUnavailableError: by any call: its server does not answer.
    """

    def __init__(self, access: Access, bucket: str, prefix: str = "") -> None:
        self._access, self._bucket, self._prefix = access, bucket, f"{prefix}/" if prefix else ""
        config: S3Config = {
            "endpoint": access.endpoint,
            "region": access.region,
            "access_key_id": access.key_id,
            "secret_access_key": access.secret,
        }
        if access.token:
            config["session_token"] = access.token
        options: ClientConfig = {"allow_http": not access.is_encrypted}
        self._store = S3Store(bucket, config=config, client_options=options, retry_config=RETRIES)
        self._keeps_versions: bool | None = None

    def put(self, name: str, content: bytes) -> None:
        """Put an object, or replace it."""
        with self._answering():
            obstore.put(self._store, self._key(name), content)

    def put_file(self, name: str, path: str) -> None:
        """As `put`, of a local file that is not read into memory."""
        with self._answering(), open(path, "rb") as file:  # noqa: PTH123 - obstore takes an open file
            obstore.put(self._store, self._key(name), file)

    def copy(self, source: str, target: str) -> None:
        """Copy an object, over another one if need be: the store does it, no bytes pass through here.

        Raises FileNotFoundError without `source`.
        """
        with self._answering():
            obstore.copy(self._store, self._key(source), self._key(target))

    def get(self, name: str) -> bytes:
        """The content of an object. Raises FileNotFoundError if there is none."""
        with self._answering():
            return bytes(obstore.get(self._store, self._key(name)).bytes())

    def first_bytes(self, name: str) -> tuple[bytes, int]:
        """The first `FIRST_BYTES` of an object, or all of a smaller one, and its size."""
        with self._answering():
            try:
                found = obstore.get(self._store, self._key(name), options={"range": (0, FIRST_BYTES)})
            except GenericError:
                # Nothing is no part of an object without bytes.
                if obstore.head(self._store, self._key(name))["size"]:
                    raise
                return b"", 0
            return bytes(found.bytes()), found.meta["size"]

    def bytes_between(self, name: str, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end` of an object."""
        with self._answering():
            return bytes(obstore.get_range(self._store, self._key(name), start=start, end=end))

    def size(self, name: str) -> int | None:
        """Bytes of an object; None if there is none."""
        with self._answering():
            try:
                return obstore.head(self._store, self._key(name))["size"]
            except FileNotFoundError:
                return None

    def list(self, below: str = "") -> dict[str, int]:
        """Names of all objects below the directory `below`, sorted, with their sizes in bytes.

        It takes a request per thousand objects.
        """
        with self._answering():
            found = obstore.list(self._store, self._key(below) or None, chunk_size=1000)
            named = {self._name(meta["path"]): meta["size"] for chunk in found for meta in chunk}
        return dict(sorted(named.items()))

    def any_below(self, below: str) -> bool:
        """Whether there is an object below a directory."""
        with self._answering():
            return any(obstore.list(self._store, self._key(below) or None, chunk_size=1))

    def directly_below(self, below: str) -> tuple[tuple[str, ...], dict[str, int]]:
        """Directories and objects directly below a directory, the latter with their sizes.

        Some servers go on listing a directory when the last object below it is gone.
        """
        with self._answering():
            found = obstore.list_with_delimiter(self._store, self._key(below) or None)
            objects = {self._name(meta["path"]): meta["size"] for meta in found["objects"]}
        return tuple(sorted(map(self._name, found["common_prefixes"]))), objects

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects for good, in all versions that the bucket keeps; those that are not there are passed over."""
        keys = [self._key(name) for name in names]
        if not keys:
            return
        if self._has_versions():
            for key in keys:
                delete_versions(self._access, self._bucket, key)
            return
        with self._answering():
            obstore.delete(self._store, keys)

    def old_versions(self, below: str) -> Sequence[tuple[str, str]]:
        """Name and id of each version of the objects below a directory that is not what a reader finds there now."""
        if not self._has_versions():
            return []
        found = versions_below(self._access, self._bucket, f"{self._key(below)}/")
        return [(self._name(one.key), one.id) for one in found if not (one.is_latest or one.is_marker)]

    def get_version(self, name: str, version: str) -> bytes:
        """The content of a version of an object. Raises FileNotFoundError if there is none."""
        return request(self._access, "GET", self._bucket, self._key(name), {"versionId": version})

    def delete_version(self, name: str, version: str) -> None:
        """Delete one version of an object."""
        request(self._access, "DELETE", self._bucket, self._key(name), {"versionId": version})

    def _has_versions(self) -> bool:
        if self._keeps_versions is None:
            self._keeps_versions = keeps_versions(self._access, self._bucket)
        return self._keeps_versions

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}".strip("/")

    def _name(self, key: str) -> str:
        return key.removeprefix(self._prefix)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        where = f"The object store at {self._access.endpoint}"
        try:
            yield
        except BaseError as error:
            # Of a listing that is refused, obstore knows no more than the status.
            if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or " 403 " in str(error):
                raise ConfigError(
                    f"{where} refuses s3://{self._bucket} to $AWS_ACCESS_KEY_ID; check the credentials and what they "
                    "allow."
                ) from error
            if " 404 " in str(error):
                raise ConfigError(f"{where} has no bucket {self._bucket!r}; make it, or name another one.") from error
            raise ServiceUnavailableError(
                f"{where} failed on s3://{self._bucket} ({_reason(error)}); check that it runs, that the bucket is "
                "there and that $AWS_ENDPOINT_URL is right."
            ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def bucket_objects(bucket: str) -> S3Objects:
    """All objects of a bucket, as the environment reaches it."""
    return _opened(os.getpid(), access_from(), bucket)


# A connection belongs to the process that made it.
@cache
def _opened(process: int, access: Access, bucket: str) -> S3Objects:
    return S3Objects(access, bucket)
