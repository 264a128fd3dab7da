"""A state in a bucket, as tests make one and look at it."""

from hashlib import sha256
from typing import Any

from updater.objects.filesystem import objects_at

DATA = ("changes", "events", "models", "offline", "rejected", "staged", "summaries", "texts")
"""Parts of a state that are the same in a bucket and in a directory."""
DATABASES: dict[str, Any] = {
    "ledger": {"url": "sqlite:///ledger.db"},
    "registry": {"url": "sqlite:///registry.db"},
    "online_store": {"path": "online.db"},
}
"""Tables of a config whose state is in a bucket, where no SQLite file can lie."""


def objects(bucket: str) -> dict[str, str]:
    """Digest of every object of the state `s3://<bucket>/state`, by name."""
    store, root = objects_at(f"s3://{bucket}/state")
    names = (name for name in store.list(root) if name.split("/")[1] in DATA)
    return {name.partition("/")[2]: sha256(store.get(name)).hexdigest() for name in names}
