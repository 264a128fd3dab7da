"""Waiting for a day: deferred instead of failed, and woken by the last `_SUCCESS`."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from airflow.sdk.exceptions import TaskDeferred

from tests.dags.conftest import Steps
from updater.airflow.landing import LandingSensor, LandingTrigger, exists
from updater.settings import Settings

pytestmark = pytest.mark.airflow

CONTEXT = {"params": {"ds": "2024-01-02"}}


@pytest.fixture
def waiting(steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The `_SUCCESS` files that the day needs; none is there yet."""
    paths = [tmp_path / modality / "ds=2024-01-02" / "_SUCCESS" for modality in ("bill", "search")]
    for path in paths:
        path.parent.mkdir(parents=True)
    monkeypatch.setattr(steps, "landing_paths", lambda ds, config: [str(path) for path in paths], raising=False)
    return paths


def sensor() -> LandingSensor:
    return LandingSensor(task_id="wait", poke_interval=0.05)


def test_a_landed_day_needs_no_trigger(waiting: list[Path]) -> None:
    for path in waiting:
        path.touch()
    sensor().execute(CONTEXT)


def test_a_missing_success_defers_without_a_timeout(waiting: list[Path]) -> None:
    waiting[0].touch()
    with pytest.raises(TaskDeferred) as deferred:
        sensor().execute(CONTEXT)
    assert deferred.value.timeout is None
    assert deferred.value.trigger.serialize() == (
        "updater.airflow.landing.LandingTrigger",
        {"paths": [str(waiting[1])], "poll_seconds": 0.05},
    )
    assert callable(getattr(LandingSensor, deferred.value.method_name))


async def _land(trigger: LandingTrigger, paths: list[str]) -> Any:
    """Land the paths one by one while the trigger runs; it must still wait before the last one. Returns its event."""
    event = asyncio.ensure_future(anext(trigger.run()))
    for path in paths:
        done, _ = await asyncio.wait({event}, timeout=5 * trigger.poll_seconds)
        assert not done
        with fsspec.open(path, "wb"):
            pass
    return await asyncio.wait_for(event, timeout=10)


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://{unique}"])
def test_the_trigger_fires_when_the_last_path_has_landed(root: str, tmp_path: Path) -> None:
    root = root.format(tmp_path=tmp_path, unique=uuid4().hex)
    paths = [f"{root}/{modality}-SUCCESS" for modality in ("bill", "search")]
    event = asyncio.run(_land(LandingTrigger(paths, 0.05), paths))
    assert event.payload == paths


def test_the_trigger_leaves_the_event_loop_to_others_while_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    from updater.airflow import landing

    looking, release = threading.Event(), threading.Event()
    released = []

    def slow(path: str) -> bool:
        looking.set()
        released.append(release.wait(5))
        return True

    monkeypatch.setattr(landing, "exists", slow)

    async def race() -> None:
        event = asyncio.ensure_future(anext(LandingTrigger(["any"], 0.05).run()))
        await asyncio.to_thread(looking.wait, 10)
        release.set()
        await asyncio.wait_for(event, timeout=10)

    asyncio.run(race())
    assert released == [True]


def test_a_file_that_comes_after_a_cached_listing_is_seen(tmp_path: Path) -> None:
    class Caching(fsspec.implementations.local.LocalFileSystem):
        """As an object store: what was listed once is not looked up again."""

        protocol = "caching"
        listed: dict[str, bool] = {}  # noqa: RUF012

        def exists(self, path: str, **kwargs: Any) -> bool:
            return self.listed.setdefault(path, super().exists(path, **kwargs))

        def invalidate_cache(self, path: str | None = None) -> None:
            self.listed.clear()

    fsspec.register_implementation("caching", Caching, clobber=True)
    path = f"caching://{tmp_path}/_SUCCESS"
    assert not exists(path)
    (tmp_path / "_SUCCESS").touch()
    assert exists(path)


def test_the_resumed_task_goes_on(settings: Settings) -> None:
    sensor().landed(CONTEXT, ["a/_SUCCESS"])
