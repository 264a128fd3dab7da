"""How the buckets of a window are divided among processes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from tests.conftest import SettingsFactory
from updater.pipeline.init import initialize
from updater.runtime import process_pool
from updater.runtime.deployment import open_context
from updater.runtime.process_pool import ProcessPool


@pytest.mark.parametrize(
    ("processes", "num_users", "jobs"),
    [(1, None, 2), (1, 0, 1), (1, 4096, 1), (1, 4097, 2), (2, None, 4), (2, 1024, 2), (2, 1025, 4)],
)
def test_few_users_are_one_job_per_process(
    make_settings: SettingsFactory, processes: int, num_users: int | None, jobs: int
) -> None:
    with ProcessPool(make_settings(), datetime(2025, 1, 1, tzinfo=UTC)) as pool:
        pool.num_processes = processes
        groups = pool.groups(range(16), num_users)
    assert len(groups) == jobs
    assert [bucket for group in groups for bucket in group] == list(range(16))


@pytest.mark.parametrize(("processes", "started"), [(1, 0), (2, 1)])
def test_the_server_is_started_early_for_several_processes(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, processes: int, started: int
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(process_pool.forkserver, "ensure_running", lambda: calls.append("started"))
    with ProcessPool(make_settings(), datetime(2025, 1, 1, tzinfo=UTC)) as pool:
        pool.num_processes = processes
        pool.warm_up()
    assert len(calls) == started


@pytest.fixture
def nothing_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process_pool, "_OPENED", [])
    yield
    for opened in process_pool._OPENED:
        opened.session.close()


@pytest.mark.usefixtures("nothing_open")
def test_a_process_keeps_the_model_and_not_the_clock(make_settings: SettingsFactory) -> None:
    settings = make_settings()
    initialize(settings)
    now = datetime(2025, 1, 1, tzinfo=UTC)
    first = process_pool.open_session(open_context(settings, now))
    model, connection = first.model, first.connection
    context = open_context(settings, now + timedelta(hours=1))
    second = process_pool.open_session(context)
    assert second.model is model
    assert second.context is context

    other = replace(settings, run=replace(settings.run, users_per_batch=7))
    third = process_pool.open_session(open_context(other, now))
    assert third.context.settings.run.users_per_batch == 7
    with pytest.raises(duckdb.ConnectionException):
        connection.execute("select 1")
