"""A language model's replies on disk, so that no run pays for a question twice.

`<root>/<first two digits>/<digest of the request>.parquet`, with a row for each user whom the request was about: users
whose profiles read the same share a reply, and an erasure takes a user's row out, or the file if it was the only one.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import pyarrow as pa

from updater.domain.columns import JOIN_KEY
from updater.domain.erasure import Erased
from updater.domain.fingerprint import fingerprint
from updater.lake import partitions
from updater.runtime.deployment import open_context
from updater.runtime.state_lock import no_erasure_meanwhile
from updater.settings import Settings
from updater.state.layout import StateLayout

SCHEMA = pa.schema(
    {JOIN_KEY: pa.string(), "model": pa.string(), "reply": pa.string(), "total_tokens": pa.int64()},
)
"""A reply is written as JSON: a model may say what no text column can hold."""


class Replies:
    """Replies that training keeps in a state.

    Args:
        layout: names below the state.
        no_erasure: holds off erasures, and says who was erased before.
    """

    def __init__(self, layout: StateLayout, no_erasure: Callable[[], AbstractContextManager[Erased]]) -> None:
        self._root, self._no_erasure = layout.generator_replies(), no_erasure

    @classmethod
    def of(cls, settings: Settings) -> "Replies":
        """Those of a deployment, whose ledger is opened when the first one is kept."""
        context = cache(lambda: open_context(settings))
        return cls(StateLayout(settings.paths.state), lambda: no_erasure_meanwhile(context()))

    def get(self, user_id: str, request: Mapping[str, Any]) -> str | None:
        """What was replied to `request`, about this user or one of whom it says the same; None if it was not asked, or
        if the file is damaged.
        """
        rows = self._rows(request)
        if not rows:
            return None
        if user_id not in rows:
            self._write(request, rows, user_id, next(iter(rows.values())))
        text: str = json.loads(rows[min(rows)]["reply"])
        return text

    def put(self, user_id: str, request: Mapping[str, Any], text: str, total_tokens: int) -> None:
        """Keep a reply about a user, atomically, unless the user was erased while the model thought."""
        row = {"model": request["model"], "reply": json.dumps(text), "total_tokens": total_tokens}
        self._write(request, self._rows(request), user_id, row)

    def _rows(self, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        path = self._path(request)
        if not partitions.exists(path):
            return {}
        try:
            return {row[JOIN_KEY]: row for row in partitions.read_table(path).to_pylist()}
        except (pa.ArrowException, OSError):
            return {}

    def _write(
        self, request: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], user_id: str, row: Mapping[str, Any]
    ) -> None:
        made = {**rows, user_id: {**row, JOIN_KEY: user_id}}
        with self._no_erasure() as erased:
            kept = [made[user] for user in sorted(made) if user not in erased]
            if kept:
                partitions.write_table(self._path(request), pa.Table.from_pylist(kept, SCHEMA))

    def _path(self, request: Mapping[str, Any]) -> str:
        digest = fingerprint(request)
        return partitions.join(self._root, digest[:2], f"{digest}.parquet")
