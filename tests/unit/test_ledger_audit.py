"""Audit rows stay: here on SQLite, in tests/integration/test_ledger_servers.py on PostgreSQL."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from tests.unit.test_ledger_revisions import upgrade_to
from updater.ledger import LedgerWriter, open_reader, open_writer, upgrade
from updater.ledger.engine import create_ledger_engine, writing
from updater.ledger.tables import AUDIT

NOW = datetime(2026, 1, 6, tzinfo=UTC)
LEDGER = Path(__file__).parents[2] / "updater" / "ledger"


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def audited(ledger_url: str) -> LedgerWriter:
    upgrade(ledger_url)
    writer = open_writer(ledger_url)
    writer.record_audit("init", {"model": "v1"}, "ann", NOW)
    writer.record_audit("run", {"ds": "2026-01-05"}, "bob", NOW)
    return writer


@pytest.mark.parametrize(
    "statement",
    [
        update(AUDIT).values(actor="nobody"),
        update(AUDIT).where(AUDIT.c.id == 1).values(subject={}),
        delete(AUDIT),
        delete(AUDIT).where(AUDIT.c.id == 2),
    ],
    ids=["update all", "update one", "delete all", "delete one"],
)
def test_the_database_refuses_to_change_the_audit(audited: LedgerWriter, ledger_url: str, statement: object) -> None:
    before = audited.audit()
    with pytest.raises(DBAPIError, match="append-only"), writing(create_ledger_engine(ledger_url)) as connection:
        connection.execute(statement)
    assert audited.audit() == before
    assert len(before) == 2


def test_no_row_takes_the_place_of_another(audited: LedgerWriter, ledger_url: str) -> None:
    engine = create_ledger_engine(ledger_url)
    values = {"id": 1, "at": NOW, "actor": "nobody", "action": "none", "subject": {}}
    replace = insert(AUDIT).prefix_with("OR REPLACE", dialect="sqlite").values(values)
    with pytest.raises(DBAPIError), writing(engine) as connection:
        connection.execute(replace)
    if engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
            connection.execute(text("TRUNCATE ledger_audit"))
    assert [row.actor for row in audited.audit()] == ["bob", "ann"]


def test_a_migration_protects_the_rows_that_there_are(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade_to(ledger_url, "0002", monkeypatch)
    engine = create_ledger_engine(ledger_url)
    with writing(engine) as connection:
        connection.execute(insert(AUDIT).values(at=NOW, actor="ann", action="restate", subject={}))
        connection.execute(text("INSERT INTO ledger_settings (key, value) VALUES ('timezone', 'UTC')"))
    upgrade(ledger_url)
    with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
        connection.execute(delete(AUDIT))
    assert [row.actor for row in open_reader(ledger_url).audit()] == ["ann"]


@pytest.mark.parametrize(("settings", "expected"), [(["timezone"], "false"), ([], None)])
def test_a_state_that_is_older_than_pseudonyms_has_plain_ids(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch, settings: list[str], expected: str | None
) -> None:
    upgrade_to(ledger_url, "0002", monkeypatch)
    with writing(create_ledger_engine(ledger_url)) as connection:
        for key in settings:
            connection.execute(text("INSERT INTO ledger_settings (key, value) VALUES (:key, 'UTC')"), {"key": key})
    upgrade(ledger_url)
    assert open_reader(ledger_url).setting("privacy.pseudonymise") == expected


def test_no_code_changes_the_audit() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in LEDGER.glob("*.py"))
    assert "insert(AUDIT)" in code
    assert not re.findall(
        r"(?:update|delete)\(AUDIT|upsert\(\w+, AUDIT|(?:UPDATE|DELETE FROM|TRUNCATE) ledger_audit", code
    )
