"""Waiting for a day to land, without holding a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from updater.airflow.config import config_file, landing_day
from updater.locations import filesystem


def exists(path: str) -> bool:
    """True if there is a file at `path`, a path or any fsspec URL, now."""
    fs, inner = filesystem(path)
    # Object stores answer from a cached listing, in which a file that came later never appears.
    fs.invalidate_cache()
    return bool(fs.exists(inner))


class LandingTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires once all `paths` exist; looks every `poll_seconds`, in a thread, so that other triggers are not held up."""

    def __init__(self, paths: list[str], poll_seconds: float) -> None:
        super().__init__()
        self.paths = paths
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which the triggerer makes the trigger again."""
        return "updater.airflow.landing.LandingTrigger", {"paths": self.paths, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, with the paths, when the last of them has appeared."""
        missing = self.paths
        while missing := [path for path in missing if not await asyncio.to_thread(exists, path)]:
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent(self.paths)


class LandingSensor(BaseSensorOperator):  # type: ignore[misc]
    """Succeeds when every modality that must land has landed on the run's landing day.

    Until then the task is deferred, for as long as it takes: a late lake is no failure.
    """

    def execute(self, context: Any) -> None:
        """Look once; defer if a `_SUCCESS` is missing."""
        from updater.pipeline import steps

        missing = [
            path for path in steps.landing_paths(landing_day(context), config=config_file(context)) if not exists(path)
        ]
        if missing:
            self.log.info("waiting for %s", ", ".join(missing))
            self.defer(trigger=LandingTrigger(missing, self.poke_interval), method_name="landed")

    def landed(self, context: Any, event: list[str]) -> None:
        """Go on once the trigger has seen the last path."""
        self.log.info("landed: %s", ", ".join(event))
