"""A config, its clock and its progress, and what they open: a context to look or to change, and processes to work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from updater.settings import Settings

if TYPE_CHECKING:
    from updater.runtime.deployment import Context, Progress, WritableContext
    from updater.runtime.process_pool import ProcessPool

    C = TypeVar("C", bound=Context)


@dataclass(frozen=True)
class Opened:
    """What `updater.api.Deployment` is made of; nothing is loaded before it is needed."""

    settings: Settings
    now: datetime | None = None
    progress: "Progress | None" = None

    def _context(self) -> "Context":
        from updater.runtime.deployment import open_context

        return open_context(self.settings, self.now)

    def _writable(self) -> "WritableContext":
        from updater.runtime.deployment import open_writable

        return open_writable(self.settings, self.now)

    @contextmanager
    def _pool(self, context: "C") -> "Iterator[tuple[C, ProcessPool]]":
        from updater.runtime.process_pool import ProcessPool

        with ProcessPool(self.settings, context.now) as pool:
            yield context, pool

    def _progress(self) -> "Progress":
        from updater.runtime.deployment import no_progress

        return self.progress or no_progress
