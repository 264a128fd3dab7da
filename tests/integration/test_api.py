"""A deployment as a Python object does what the command line does."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import updater
from tests.deployment import NOW, Deployment, write_config
from tests.strategies import TOUR
from updater.api import Deployment as Store
from updater.errors import ConfigError
from updater.report.html import render
from updater.report.view import view

FIRST, SECOND, THIRD = TOUR.windows[:3]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An opened deployment with a fixed clock, not initialized yet, whose lake has landed."""
    store = replace(updater.open(write_config(tmp_path)), now=NOW)
    TOUR.land(store.settings.paths.lake)
    return store


def test_a_day_in_python(store: Store) -> None:
    assert store.init().model.startswith("v1-untrained-")
    assert store.run(FIRST).prefixes > 0
    planned = store.plan(SECOND)
    done = store.run(SECOND)
    assert (planned.prefixes, planned.changed_users) == (done.prefixes, done.changed_users)
    assert store.run(SECOND).already_done
    assert store.plan_backfill(FIRST, THIRD).days == [str(THIRD)]
    assert [report.ds for report in store.backfill(FIRST, THIRD)] == [str(THIRD)]
    assert store.restate(FIRST, THIRD) == {}
    assert store.status().watermark == str(THIRD)
    assert store.verify(None).differences == []


def test_the_report_is_facts_and_a_page(store: Store, tmp_path: Path) -> None:
    store.init()
    store.run(FIRST)
    page = tmp_path / "page.html"
    facts = store.report(str(page), last=1, plan=False)
    assert (facts.status.watermark, [window["ds"] for window in facts.windows]) == (str(FIRST), [str(FIRST)])
    assert facts.next_day is not None and facts.next_day.landed and facts.next_day.plan is None
    assert page.read_text() == render(view(facts))
    page.unlink()
    planned = store.report()
    assert planned.next_day is not None and planned.next_day.plan is not None
    assert not page.exists()
    with pytest.raises(ConfigError, match="last is 0"):
        store.report(last=0)


def test_users_are_embedded_and_erased(store: Store) -> None:
    store.init()
    store.run(FIRST)
    made = Deployment(store.settings, NOW)
    users = sorted({row["user_id"] for row in made.offline_rows("lapse_v1", FIRST)})
    embedded = store.embed(users, query="Will this user come back?")
    assert [one.user_id for one in embedded] == users
    assert {len(one.embedding) for one in embedded} == {8}
    assert store.find(users[:1]).places != []
    assert store.erase(users[:1]).users == 1
    assert store.find(users[:1]).places == []
    with pytest.raises(ConfigError):
        store.embed(users[:1], query="Will this user come back?")


def test_a_model_is_promoted(store: Store) -> None:
    store.init()
    store.run(FIRST)
    assert store.promote(version=1).already_live


def test_progress_is_reported(store: Store) -> None:
    reported: list[str] = []
    store = replace(store, progress=lambda label, done, total: reported.append(label))
    store.init()
    store.run(FIRST)
    assert any("refreshing" in label for label in reported)


def test_opening_loads_nothing_heavy(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    code = (
        f"import sys, updater; updater.open({str(config)!r});"
        "assert not {'torch', 'feast', 'transformers', 'duckdb', 'pyarrow', 'pandas', 'airflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        updater.open(tmp_path / "nowhere.toml")
