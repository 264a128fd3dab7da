"""How the buckets of a window are divided among processes."""

from datetime import UTC, datetime

import pytest

from tests.conftest import SettingsFactory
from updater.runtime.process_pool import Workers


@pytest.mark.parametrize(
    ("processes", "num_users", "jobs"),
    [(1, None, 2), (1, 0, 1), (1, 4096, 1), (1, 4097, 2), (2, None, 4), (2, 1024, 2), (2, 1025, 4)],
)
def test_few_users_are_one_job_per_process(
    make_settings: SettingsFactory, processes: int, num_users: int | None, jobs: int
) -> None:
    with Workers(make_settings(), datetime(2025, 1, 1, tzinfo=UTC)) as workers:
        workers.num_processes = processes
        groups = workers._groups(range(16), num_users)
    assert len(groups) == jobs
    assert [bucket for group in groups for bucket in group] == list(range(16))
