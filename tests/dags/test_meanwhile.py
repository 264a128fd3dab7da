"""Other commands between and inside the tasks of a day: Airflow finishes the day without intervention."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.dags.conftest import execute, parse, states
from tests.dags.shop import DAYS, USERS, Make, online
from tests.deployment import Deployment
from updater.ledger import LedgerWriter
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline import steps
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import register_model
from updater.runtime.process_pool import ProcessPool
from updater.runtime.state_lock import StateLock
from updater.store import access

# ibis calls a name that duckdb has renamed; both still work.
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("airflow_db"),
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]


def first_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, deed: Callable[[], None]) -> None:
    """Do `deed` once, when `owner.name` is called for the first time, before it."""
    real, done = getattr(owner, name), []

    def call(*arguments: Any, **options: Any) -> Any:
        if not done:
            done.append(True)
            deed()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


def tries(run: Any, task_id: str) -> int:
    return max(task.try_number for task in run.get_task_instances() if task.task_id == task_id)


def test_users_erased_between_and_inside_the_tasks_of_a_day(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("airflow")
    made.run(DAYS[:2])
    gone = {step: USERS[number] for step, number in (("encode", 2), ("head", 3), ("publish", 4), ("load", 5))}
    gone["verify"] = USERS[0]

    def erased(step: str) -> Callable[[], None]:
        return lambda: void(erase(made.context, [gone[step]]))

    for step in ("encode", "publish", "verify"):
        first_before(monkeypatch, steps, step, erased(step))
    first_before(monkeypatch, LedgerWriter, "move_head", erased("head"))
    threads = erase_while_loading(monkeypatch, made, gone["load"])

    run = execute(parse("daily_update"), ds=str(DAYS[2]), verify_users=5)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert run.state == "success", states(run)
    assert (tries(run, "refresh"), tries(run, "materialize")) == (2, 1)
    assert made.context.ledger.watermark() == DAYS[2]
    assert find(made.context, [*gone.values()]).places == []
    left = dict(zip(USERS, online(made)["takeout_as_of"], strict=True))
    assert {user for user, as_of in left.items() if as_of is None} >= {*gone.values()}
    assert verify(made.context, None).differences == []


def erase_while_loading(monkeypatch: pytest.MonkeyPatch, made: Deployment, user: str) -> list[Thread]:
    """Erase `user` while the rows of a day, that user's among them, are on their way to the online store."""
    threads: list[Thread] = []
    real, exclusive = access.materialize, StateLock.exclusive
    waiting: list[str] = []

    def take(lock: StateLock) -> Any:
        waiting.append(lock.lock)
        return exclusive(lock)

    def load(*arguments: Any) -> Any:
        rows = real(*arguments)
        if not threads:
            monkeypatch.setattr(StateLock, "exclusive", take)
            threads.append(Thread(target=erase, args=(made.context, [user])))
            threads[0].start()
            # The files are without the user when the erasure turns to the online store.
            while len(waiting) < 2:
                threads[0].join(0.01)
                assert threads[0].is_alive()
        return rows

    monkeypatch.setattr(access, "materialize", load)
    return threads


def test_versions_promoted_between_and_inside_the_tasks_of_a_day(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = make("airflow")
    made.run(DAYS[:2])
    config = create_config(made.settings)
    versions = []
    for seed in (98, 99):
        save_model(create_model(config, seed), tmp_path / str(seed))
        versions.append(register_model(made.context, tmp_path / str(seed), "trained", trained=True))

    def promoted(version: int) -> Callable[[], None]:
        def go() -> None:
            with ProcessPool(made.settings, made.now) as pool:
                promote(made.context, pool, versions[version - 2], None)

        return go

    first_before(monkeypatch, steps, "encode", promoted(2))
    first_before(monkeypatch, LedgerWriter, "move_head", promoted(3))

    run = execute(parse("daily_update"), ds=str(DAYS[2]), verify_users=5)
    assert run.state == "success", states(run)
    assert tries(run, "refresh") == 2
    ledger = made.context.ledger
    assert ledger.watermark() == DAYS[2]
    assert {head.model_version for head in ledger.heads().values()} == {3}
    assert ledger.published().num_promotions == 2
    assert verify(made.context, None).differences == []


def void(_: object) -> None:
    """For calls whose result nobody needs."""
