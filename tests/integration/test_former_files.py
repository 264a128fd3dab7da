"""What earlier releases kept in files of the state is in the ledger after `updater init`, and is taken over once."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.factories import utc
from tests.unit.test_ledger_revisions import upgrade_to
from updater.errors import UnfinishedWorkError
from updater.ledger import RetiredFile, open_reader
from updater.pipeline.compact.scope import check_alone
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_context
from updater.settings import Settings

SINCE = utc("2026-03-01 12:30")
PATH = "offline/lapse_v1/ds=2026-02-01/bucket-000.parquet"
RETIRED = {PATH: RetiredFile(path=PATH, since=SINCE, size=123)}


def former_state(settings: Settings) -> tuple[Path, Path]:
    """The list of retired files and the plan of a restatement, as an earlier release leaves them."""
    retired, plan = (
        Path(settings.paths.state, name) for name in ("maintenance/retired.json", "restatement/pending.parquet")
    )
    for path in (retired, plan):
        path.parent.mkdir(parents=True, exist_ok=True)
    retired.write_text(json.dumps({PATH: {"since": SINCE.isoformat(), "size": 123, "modified_ns": 9}}))
    plan.touch()
    return retired, plan


def check_taken_over(settings: Settings) -> None:
    retired, plan = former_state(settings)
    writer = create_ledger(settings)
    assert writer.retired() == RETIRED
    assert not retired.parent.exists()
    assert plan.exists()
    with pytest.raises(UnfinishedWorkError, match="A restatement was started but not finished"):
        check_alone(open_context(settings))
    # What the ledger says now counts: files that come again, of a backup for example, do not.
    writer.end_restatement()
    writer.replace_retired([])
    former_state(settings)
    create_ledger(settings)
    assert open_reader(settings.ledger.url).retired() == {}
    assert open_reader(settings.ledger.url).restatement() is None
    assert not retired.exists()


def test_files_of_an_earlier_release_are_taken_over_once(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    upgrade_to(settings.ledger.url, "0004", monkeypatch)
    check_taken_over(settings)


def test_the_same_on_postgresql(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    settings = make_settings(ledger={"url": postgres_url})
    upgrade_to(postgres_url, "0004", monkeypatch)
    check_taken_over(settings)


def test_a_migration_that_was_killed_before_the_files_were_removed(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    upgrade_to(settings.ledger.url, "0004", monkeypatch)
    retired, _ = former_state(settings)

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("updater.pipeline.init.forget_former_files", die)
        create_ledger(settings)
    assert open_reader(settings.ledger.url).retired() == RETIRED
    create_ledger(settings)
    assert open_reader(settings.ledger.url).retired() == RETIRED
    assert not retired.exists()


def test_a_list_that_another_maintenance_made_takes_the_place_of_the_one_before(
    make_settings: Callable[..., Settings],
) -> None:
    writer = create_ledger(make_settings())
    writer.replace_retired([*RETIRED.values(), RetiredFile(path="a", since=SINCE, size=0)])
    later = RetiredFile(path="b", since=SINCE + timedelta(hours=1), size=5_000_000_000)
    writer.replace_retired([*RETIRED.values(), later])
    assert writer.retired() == {**RETIRED, "b": later}
