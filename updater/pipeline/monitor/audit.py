"""Who changed what: one row in the ledger's audit per action, which nothing ever changes or removes."""

import os
import pwd
from collections.abc import Mapping
from typing import Any

from updater.errors import ConfigError
from updater.runtime.deployment import WritableContext

MAX_ACTOR = 200


def record(context: WritableContext, action: str, **subject: Any) -> None:
    """Add an audit row: this process's actor does `action` to `subject`.

    Args:
        context: Whose ledger and clock to use.
        action: the command, as on the command line.
        subject: What it is done to: days, versions, counts; never a user's id, which no erasure could remove again.
    """
    context.ledger.record_audit(action, subject, actor(os.environ), context.time())


def actor(environ: Mapping[str, str]) -> str:
    """UPDATER_ACTOR, which a scheduler or a shared account sets, else the name of the operating system's user.

    Raises:
        ConfigError: UPDATER_ACTOR is very long or holds characters that cannot be shown.
    """
    if name := environ.get("UPDATER_ACTOR"):
        if len(name) > MAX_ACTOR or not name.isprintable():
            raise ConfigError(f"UPDATER_ACTOR is {name[:40]!r}; use at most {MAX_ACTOR} printable characters.")
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
