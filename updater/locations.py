"""Paths and URLs of the config, and what lies below them, as filesystems know them."""

import os
import re
from functools import cache
from importlib.util import find_spec

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

URL = re.compile(r"(?:[A-Za-z0-9_+.-]+::)*[A-Za-z][A-Za-z0-9_+.-]*://")
"""How a URL of fsspec begins, a chained one such as `simplecache::s3://` too; anything else is a path on the disk."""
S3 = "s3://"
READ_OTHERWISE = {"::": "\ufdd0", "?": "\ufdd1", "#": "\ufdd2"}
"""What parsers of URLs take for more than part of a name, and characters that no name has."""


def is_s3(path: str) -> bool:
    """Whether `path` is an `s3://` URL that the client of the extra `s3` reads."""
    return path.startswith(S3) and _has_client()


@cache
def _has_client() -> bool:
    return find_spec("obstore") is not None


def filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a path or URL, and the path within it; names in it may have any characters.

    With the extra `s3` installed, `s3://` goes through its client, and not through what fsspec knows.
    """
    if is_s3(path):
        from updater.objects.filesystem import S3FileSystem

        return S3FileSystem(), path.removeprefix(S3).rstrip("/")
    beginning = URL.match(path)
    if beginning is None:
        absolute = os.path.join(os.getcwd(), os.path.expanduser(path))  # noqa: PTH109, PTH111, PTH118 - `..` stays
        return LocalFileSystem(), absolute.rstrip("/") or "/"
    names = path[beginning.end() :]
    for special, stand_in in READ_OTHERWISE.items():
        names = names.replace(special, stand_in)
    fs, inner = url_to_fs(beginning[0] + names)
    inner = str(inner)
    for special, stand_in in READ_OTHERWISE.items():
        inner = inner.replace(stand_in, special)
    return fs, inner
