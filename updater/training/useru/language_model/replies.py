"""A language model's replies on disk, so that no run pays for a question twice.

`<root>/<first two digits>/<digest of the request>.json`. A request says nothing of whom it is about, so neither does
a file here; users whose profiles read the same share their replies.
"""

import json
from collections.abc import Mapping
from typing import Any

from updater.domain.fingerprint import fingerprint
from updater.lake import partitions


class Replies:
    """Replies below a directory or URL."""

    def __init__(self, root: str) -> None:
        self._root = root

    def get(self, request: Mapping[str, Any]) -> str | None:
        """What was replied to `request`; None if it was not asked, or if the file is damaged."""
        path = self._path(request)
        if not partitions.exists(path):
            return None
        fs, inner = partitions.filesystem(path)
        try:
            kept = json.loads(fs.cat_file(inner))
        except ValueError:
            return None
        text = kept.get("text") if isinstance(kept, dict) else None
        return text if isinstance(text, str) else None

    def put(self, request: Mapping[str, Any], text: str, total_tokens: int) -> None:
        """Keep a reply, atomically."""
        content = {"model": request["model"], "text": text, "total_tokens": total_tokens}
        with partitions.write_file(self._path(request)) as file:
            file.write(json.dumps(content, sort_keys=True).encode())

    def _path(self, request: Mapping[str, Any]) -> str:
        digest = fingerprint(request)
        return partitions.join(self._root, digest[:2], f"{digest}.json")
