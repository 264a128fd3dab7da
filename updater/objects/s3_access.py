"""How a bucket is reached: endpoint, region and credentials, from the environment and from nowhere else.

The names are those of Amazon's own tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION (or
AWS_DEFAULT_REGION), and for a server of one's own AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from updater.errors import ConfigError

SCHEME = "s3://"
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True)
class Access:
    """Where buckets are, and who asks."""

    endpoint: str
    """URL of the server; buckets are the first part of its paths."""
    region: str
    key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    """Of temporary credentials; empty for others."""

    @property
    def is_encrypted(self) -> bool:
        """False if requests go over plain HTTP."""
        return urlsplit(self.endpoint).scheme != "http"

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.endpoint).netloc


def access_from(environ: Mapping[str, str] | None = None) -> Access:
    """What the environment says. Raises ConfigError if there are no credentials in it."""
    environ = os.environ if environ is None else environ
    if missing := [name for name in _SECRETS if not environ.get(name)]:
        raise ConfigError(f"An s3:// path needs credentials, and ${missing[0]} is not set; set both {_and(_SECRETS)}.")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    given = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    endpoint = (given or f"https://s3.{region}.amazonaws.com").rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise ConfigError(f"$AWS_ENDPOINT_URL is {endpoint!r}; write http://host:port or https://host.")
    key_id, secret = (environ[name] for name in _SECRETS)
    return Access(endpoint, region, key_id, secret, environ.get("AWS_SESSION_TOKEN", ""))


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; the prefix is empty, or ends with no slash."""
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    return bucket, prefix.strip("/")


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(f"${name}" for name in names)
