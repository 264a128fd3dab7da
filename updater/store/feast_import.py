"""Importing Feast in half the time.

Feast decorates its classes with typeguard's `typechecked`, which parses and compiles each of them again at every
import: 2 of 4 CPU seconds, in every command, task and worker process. The classes that this package builds are checked
by mypy, so the decorator is left out where Feast is imported through here. Feast's own commands import it before, and
keep it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typeguard


@contextmanager
def _unchecked() -> Iterator[None]:
    checked = typeguard.typechecked
    typeguard.typechecked = _leave
    try:
        yield
    finally:
        typeguard.typechecked = checked


def _leave(target: Any = None, **_: Any) -> Any:
    """As `typechecked`, bare or with options, without its effect."""
    return _leave if target is None else target


with _unchecked():
    import feast  # noqa: F401
