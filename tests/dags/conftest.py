"""A DAG parsed against a config of its own, with the library or with a recording stand-in behind its tasks."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import updater.pipeline
from tests.conftest import SettingsFactory
from tests.dags.shop import DAYS, Make, land
from tests.deployment import NOW, PROFILES, Deployment
from updater.settings import Settings

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def settings(make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The config that UPDATER_CONFIG names while DAGs are parsed and run."""
    settings = make_settings()
    monkeypatch.setenv("UPDATER_CONFIG", str(settings.source))
    return settings


def parse(dag_id: str) -> Any:
    """One of the project's DAGs, for the config that UPDATER_CONFIG names."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    return bag.dags[dag_id]


class Steps(ModuleType):
    """Stands in for `updater.pipeline.steps`: records the calls and answers as the real one would."""

    def __init__(self) -> None:
        super().__init__("updater.pipeline.steps")
        self.calls: list[tuple[Any, ...]] = []
        self.texts = {"bill": 2, "search": 1}
        """Texts to encode, by modality."""
        self.fail: dict[str, list[Exception]] = {}
        """Exceptions that the next calls of a step raise, oldest first."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def step(*arguments: Any, config: str | None = None) -> Any:
            self.calls.append((name, *arguments))
            if self.fail.get(name):
                raise self.fail[name].pop(0)
            return ANSWERS[name](self, *arguments)

        return step

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """Arguments of the calls of one step, in order."""
        return [call[1:] for call in self.calls if call[0] == name]


ANSWERS: dict[str, Callable[..., Any]] = {
    "landing_paths": lambda self, ds: [],
    "detect": lambda self, ds, modality: {
        "modality": modality,
        "rows": 3,
        "rejected": 0,
        "changed_users": 2,
        "texts": self.texts.get(modality, 0),
    },
    "encode": lambda self, ds, modality: {"modality": modality, "texts_encoded": self.texts.get(modality, 0)},
    "bucket_groups": lambda self, ds, num_groups: [list(range(i, 4, num_groups)) for i in range(num_groups)],
    "refresh": lambda self, ds, buckets: {"buckets": buckets, "prefixes": 1},
    "refresh_days": lambda self, days, buckets: {"buckets": buckets, "prefixes": len(days)},
    "publish": lambda self, ds: {"changed_users": 2, "prefixes": 2},
    "materialize": lambda self, ds: {"rows": 6, "views": ["lapse_v1", "takeout_v1", "modality_summaries"]},
    "verify": lambda self, ds, sample: {"users": sample, "differences": 0},
    "backfill_days": lambda self, from_date, to_date: ["2024-01-02", "2024-01-03"],
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The stand-in for the library, in place."""
    stub = Steps()
    monkeypatch.setitem(sys.modules, "updater.pipeline.steps", stub)
    monkeypatch.setattr(updater.pipeline, "steps", stub, raising=False)
    return stub


def execute(dag: Any, **conf: Any) -> Any:
    """Run a DAG as `airflow dags test` does, without pauses between tries; returns the DagRun."""
    for task in dag.tasks:
        (task.partial_kwargs if task.is_mapped else task.__dict__)["retry_delay"] = timedelta(0)
    return dag.test(logical_date=datetime.now(UTC), run_conf=conf)


def states(run: Any) -> dict[str, list[str]]:
    """States of a run's tasks, by task."""
    found: dict[str, list[str]] = {}
    for task in run.get_task_instances():
        found.setdefault(task.task_id, []).append(str(task.state))
    return found


def landed(root: Path) -> Deployment:
    """A deployment whose four days have landed."""
    made = Deployment.create(root, buffer={"num_buckets": 4}, timezone="Europe/Berlin", **PROFILES)
    for ds in DAYS:
        land(made.lake, ds)
    return made


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a deployment whose four days have landed; UPDATER_CONFIG and the clock are those of the newest one."""

    def create(name: str) -> Deployment:
        made = landed(tmp_path / name)
        monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(NOW.timestamp())))
        return made

    return create
