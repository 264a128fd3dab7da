"""Airflow's DAG on hosts that share no disk, one of which dies in each step: the bytes are one machine's.

docs/scaling.md says what was seen to pass, and on what machine.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from tests.conftest import NO_HOSTS, REQUIRE_SERVICES
from tests.hosts.cluster import Cluster, cluster
from tests.hosts.network import missing
from tests.hosts.shop import SAMPLE, Shop

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.services,
    pytest.mark.hosts,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]
NAMES = ("one", "two")
WEEK = 7
STEPS = [
    ("detect", "PUT", 1),
    ("encode", "PUT", 1),
    ("refresh", "PUT", 5),
    ("publish", "GET", 1),
    ("materialize", "GET", 5),
    ("verify", "GET", 5),
]
"""Every step of a window that works on the state, and the request at which its host dies."""


class Pair:
    """The same windows on hosts and on one machine."""

    def __init__(self, hosts: Cluster, alone: Shop) -> None:
        self.hosts, self.alone = hosts, alone
        self._next = SAMPLE.last_day - timedelta(days=WEEK + len(STEPS) - 1)

    def day(self) -> date:
        """The next landing day, when the library alone is done with it."""
        ds = self._next
        self.alone.run(ds)
        self._next += timedelta(days=1)
        return ds

    def assert_equal(self) -> None:
        """What was published, in files and online, is the same."""
        assert len(self.alone.published()) > 10
        assert self.hosts.shop.published() == self.alone.published()
        assert self.hosts.shop.online() == self.alone.online()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if reason := missing():
        if REQUIRE_SERVICES:
            pytest.fail(f"{NO_HOSTS} {reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(f"{NO_HOSTS} {reason}")
    root = tmp_path_factory.mktemp("hosts")
    alone = Shop.create(root / "alone" / "shop", {})
    with cluster(root / "many", NAMES) as made:
        yield Pair(made, alone)


@pytest.mark.timeout(3600)
def test_two_hosts_share_a_week_of_windows_and_publish_the_bytes_of_one_machine(pair: Pair) -> None:
    days = [pair.day() for _ in range(WEEK)]
    runs = [pair.hosts.trigger(ds=str(ds), num_groups=4) for ds in days]
    for run in runs:
        tasks = pair.hosts.finish(run)
        assert {task["hostname"] for task in tasks if task["state"] == "success"} == set(NAMES)
    pair.assert_equal()


@pytest.mark.parametrize(("step", "method", "number"), STEPS, ids=[step for step, _, _ in STEPS])
def test_a_host_that_dies_in_a_step_is_replaced_and_the_bytes_stay(
    pair: Pair, step: str, method: str, number: int
) -> None:
    run = pair.hosts.trigger(ds=str(pair.day()))
    victim = pair.hosts.running(run, step)
    pair.hosts.services.trap.set(pair.hosts.workers[victim["hostname"]], method, number)
    pair.hosts.until(f"{step} is killed", pair.hosts.services.trap.closed.is_set)
    assert pair.hosts.state(run) == "running"
    pair.hosts.start_worker(victim["hostname"])
    tasks = pair.hosts.finish(run)
    [again] = [task for task in tasks if (task["task_id"], task["map_index"]) == (step, victim["map_index"])]
    assert again["try_number"] > 1
    pair.assert_equal()
    pair.hosts.until_ready(victim["hostname"])
