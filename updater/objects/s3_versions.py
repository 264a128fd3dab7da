"""Versions of objects in a bucket: requests that the client for everything else (obstore) does not make.

They are signed by Signature Version 4 (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPException
from time import sleep
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from updater.errors import ServiceUnavailableError
from updater.objects.s3_access import Access

ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.1
TIMEOUT_SECONDS = 30.0
_UNSIGNED_BODY = sha256(b"").hexdigest()


@dataclass(frozen=True)
class Version:
    """One version of an object."""

    key: str
    id: str
    is_latest: bool
    is_marker: bool
    """It has no content, and says that the object was deleted."""


def keeps_versions(access: Access, bucket: str) -> bool:
    """Whether the bucket keeps what is deleted or replaced, or has kept it once."""
    answer = _tree(request(access, "GET", bucket, query={"versioning": ""}))
    return bool(_text(answer, "Status"))


def delete_versions(access: Access, bucket: str, key: str) -> None:
    """Delete all versions of an object, and the marks that say that it was deleted."""
    # From the end, so that while this goes on no older version comes to light.
    for version in reversed(versions_of(access, bucket, key)):
        request(access, "DELETE", bucket, key, {"versionId": version})


def versions_of(access: Access, bucket: str, key: str) -> list[str]:
    """Ids of all versions of an object, and of the marks that say that it was deleted, newest first."""
    return [version.id for version in versions_below(access, bucket, key) if version.key == key]


def versions_below(access: Access, bucket: str, prefix: str) -> list[Version]:
    """All versions of all objects whose keys begin with `prefix`, by key, and of each the newest first."""
    found: list[Version] = []
    after: dict[str, str] = {}
    while True:
        answer = _tree(request(access, "GET", bucket, query={"versions": "", "prefix": prefix, **after}))
        for entry in answer:
            if (kind := _name(entry)) in ("Version", "DeleteMarker"):
                is_latest = _text(entry, "IsLatest") == "true"
                found.append(Version(_text(entry, "Key"), _text(entry, "VersionId"), is_latest, kind != "Version"))
        if _text(answer, "IsTruncated") != "true":
            return found
        after = {
            "key-marker": _text(answer, "NextKeyMarker"),
            "version-id-marker": _text(answer, "NextVersionIdMarker"),
        }


def request(
    access: Access, method: str, bucket: str, key: str = "", query: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """The body of the answer to a request that may be made again.

    Raises:
        FileNotFoundError: there is no object `key` to get, or no such version of it.
        ServiceUnavailableError: the server refuses it, or does not answer in several attempts.
    """
    path = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
    asked = urlencode(sorted((query or {}).items()), quote_via=quote, safe="-_.~")
    url = f"{access.endpoint}{path}" + (f"?{asked}" if asked else "")
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(ATTEMPTS):
        headers = _signed(access, method, path, asked, body, datetime.now(UTC))
        try:
            with urlopen(Request(url, body or None, headers, method=method), timeout=TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            if method == "GET" and key and error.code == 404:
                raise FileNotFoundError(f"s3://{bucket}/{key}") from error
            reason, is_final = f"{error.code} {error.reason}", error.code < 500
        except (OSError, HTTPException) as error:
            reason, is_final = str(error) or type(error).__name__, False
        if is_final or attempt == ATTEMPTS - 1:
            break
        sleep(pause)
        pause *= 2
    raise ServiceUnavailableError(
        f"The object store at {access.endpoint} does not do {method} on s3://{bucket}/{key} ({reason}); check that it "
        "runs, and what the credentials allow."
    )


def _signed(access: Access, method: str, path: str, query: str, body: bytes, now: datetime) -> dict[str, str]:
    digest = sha256(body).hexdigest() if body else _UNSIGNED_BODY
    headers = {"host": access.host, "x-amz-content-sha256": digest, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
    if access.token:
        headers["x-amz-security-token"] = access.token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [method, path, query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    )
    scope = f"{now:%Y%m%d}/{access.region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{access.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{access.key_id}/{scope}"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def _tree(content: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(content)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in element if _name(child) == name), "")
