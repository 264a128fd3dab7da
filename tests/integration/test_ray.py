"""Jobs on a Ray cluster: the bytes of one process, errors as they are, and what is lost is done again."""

import logging
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import ray_jobs
from tests.deployment import NOW, PROFILES, Deployment, write_config
from tests.ray_cluster import NUM_CPUS, cluster_running
from tests.strategies import TOUR
from updater.errors import ConfigError, HeadConflictError, ServiceUnavailableError, UpdaterError
from updater.pipeline.daily import refresh
from updater.pipeline.monitor.verify import verify
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

BUCKETS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with cluster_running() as address:
            yield address


def on(cluster: str) -> dict[str, Any]:
    return {"engine": "ray", "ray_address": cluster, "processes": 0}


def deployed(root: Path, **run: Any) -> Deployment:
    made = Deployment.create(root, buffer={"num_buckets": BUCKETS, "num_shards": 2}, run=run, **PROFILES)
    TOUR.land(made.lake)
    return made


@pytest.fixture(scope="module")
def pool(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPool]:
    """For jobs that need no state."""
    settings = load_settings(write_config(tmp_path_factory.mktemp("ray"), run=on(cluster)), environ={})
    with ProcessPool(settings, NOW) as opened:
        yield opened


@pytest.fixture
def made(tmp_path: Path, cluster: str) -> Deployment:
    return deployed(tmp_path / "ray", **on(cluster))


def test_a_cluster_leaves_the_bytes_of_processes_and_of_one(made: Deployment, tmp_path: Path) -> None:
    one, two = deployed(tmp_path / "one"), deployed(tmp_path / "two", processes=2)
    for deployment in (one, two, made):
        deployment.run(TOUR.windows[:2])
    assert made.published() == two.published() == one.published()
    assert verify(made.context, None).differences == []


def test_an_actor_that_is_killed_in_a_window_loses_nothing(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, mark = deployed(tmp_path / "one"), tmp_path / "killed"
    made = deployed(tmp_path / "ray", processes=1)
    plain.run(TOUR.windows[:2])
    made.run(TOUR.windows[:1])
    made.settings = replace(made.settings, run=replace(made.settings.run, **on(cluster)))
    monkeypatch.setattr(refresh, "_refresh_job", partial(ray_jobs.refresh_killed_once, str(mark)))
    made.run(TOUR.windows[1:2])
    assert mark.exists()
    assert "its job is done again" in caplog.text
    assert made.published() == plain.published()
    assert verify(made.context, None).differences == []


def test_actors_are_kept_and_pass_on_what_they_log(pool: ProcessPool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="updater")
    assert pool.num_processes == NUM_CPUS
    first = dict(pool.map(ray_jobs.process_id, [(number,) for number in range(5)]))
    second = dict(pool.map(ray_jobs.process_id, [(5,)]))
    assert sorted(first) == list(range(5))
    assert len({*first.values(), *second.values()}) <= NUM_CPUS
    assert {f"job {number}" for number in range(6)} <= set(caplog.messages)


def test_a_job_s_error_is_raised_as_itself_and_not_repeated(pool: ProcessPool, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with pytest.raises(HeadConflictError) as raised:
        list(pool.map(ray_jobs.conflict, [(str(calls),)]))
    assert str(raised.value) == "Bucket 3 has other values."
    assert (raised.value.bucket, raised.value.published, raised.value.exit_code) == (3, "abc", 7)
    assert "ray_jobs.py" in raised.value.__notes__[0]
    assert calls.read_text().count("called") == 1
    with pytest.raises(Exception, match="pickle"):
        list(pool.map(ray_jobs.unpicklable, [()]))


def test_a_caller_who_stops_can_go_on_with_other_jobs(pool: ProcessPool) -> None:
    for _ in pool.map(ray_jobs.process_id, [(number,) for number in range(5)]):
        break
    assert dict(pool.map(ray_jobs.process_id, [(1,)])).keys() == {0}


def test_what_a_job_has_of_its_caller_and_of_its_machine(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1717200000")
    monkeypatch.setenv("UPDATER_ID_KEY", "a secret of the caller's machine")
    names = ["SOURCE_DATE_EPOCH", "UPDATER_ID_KEY"]
    assert dict(pool.map(ray_jobs.environment, [(name,) for name in names])) == {0: "1717200000", 1: None}
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert dict(pool.map(ray_jobs.environment, [(names[0],)])) == {0: None}
    [(_, values)] = pool.map(ray_jobs.numbers, [()])
    values[0] = 1  # What came through shared memory is the caller's own.


def test_a_job_that_ends_its_process_is_given_up_after_three_times(pool: ProcessPool, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with pytest.raises(UpdaterError, match=r"lost 3 times .*run the same command again, or lower run\.processes"):
        list(pool.map(ray_jobs.die, [(str(calls),)]))
    assert calls.read_text().count("called") == 3


@pytest.mark.parametrize(
    ("run", "model", "said"),
    [
        ({"ray_address": "ray://head:10001"}, {}, "run.ray_address is 'ray://head:10001' .* host:port of its head"),
        ({}, {"device": "auto"}, "model.device is 'auto'.* set it to cpu, or to cuda"),
        ({}, {"device": "cuda"}, "has no GPU, which model.device = 'cuda' needs; start a node with one"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_refused_in_a_sentence(
    tmp_path: Path, cluster: str, run: dict[str, str], model: dict[str, str], said: str
) -> None:
    settings = load_settings(write_config(tmp_path, run={**on(cluster), **run}, model=model), environ={})
    handler = signal.getsignal(signal.SIGTERM)
    with ProcessPool(settings, NOW) as refused, pytest.raises(ConfigError, match=said):
        list(refused.map(ray_jobs.process_id, [(1,)]))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_places_on_one_machine_s_disk_are_refused_where_there_are_several(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {"Alive": True, "Resources": {"CPU": 1.0}}
    monkeypatch.setattr("ray.nodes", lambda: [node, node, {**node, "Alive": False}])
    for paths, said in (
        ({}, "has 2 machines, and paths.state .* s3://bucket/prefix"),
        ({"state": "s3://bucket/state"}, "has 2 machines, and ledger.url .* a PostgreSQL database"),
    ):
        tables = {"paths": paths, "ledger": {"url": "sqlite:///ledger.db"}}
        settings = load_settings(write_config(tmp_path, run=on(cluster), **tables), environ={})
        with ProcessPool(settings, NOW) as refused, pytest.raises(ConfigError, match=said):
            list(refused.map(ray_jobs.process_id, [(1,)]))


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # Other tests of this module keep a connection.
    settings = load_settings(write_config(tmp_path, run=on("127.0.0.1:9")), environ={})
    with ProcessPool(settings, NOW) as refused, pytest.raises(ServiceUnavailableError, match=r"`ray start`"):
        list(refused.map(ray_jobs.process_id, [(1,)]))


def test_without_ray_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(write_config(tmp_path, run=on("auto")), environ={})
    monkeypatch.delitem(sys.modules, "updater.runtime.cluster.ray_engine", raising=False)
    monkeypatch.delitem(sys.modules, "updater.runtime.cluster.actors", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with ProcessPool(settings, NOW) as refused, pytest.raises(ConfigError, match=r"pip install 'updater\[ray\]'"):
        list(refused.map(ray_jobs.process_id, [(1,)]))
