"""Making, migrating and opening a ledger; what only SQLite does is at the end."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from updater.domain.erasure import Erased
from updater.errors import ConfigError, ServiceUnavailableError
from updater.ledger import open_reader, open_writer, upgrade
from updater.ledger.engine import create_ledger_engine, writing
from updater.ledger.revisions import VERSION_TABLE
from updater.ledger.tables import METADATA

NOW = datetime(2026, 1, 6, tzinfo=UTC)


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/not yet there/100% ü/ledger.db"


def test_the_migrations_make_the_declared_tables(ledger_url: str) -> None:
    upgrade(ledger_url)
    with create_ledger_engine(ledger_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


def test_upgrading_again_keeps_everything(ledger_url: str) -> None:
    upgrade(ledger_url)
    open_writer(ledger_url).fix_setting("timezone", "UTC")
    upgrade(ledger_url)
    assert open_reader(ledger_url).setting("timezone") == "UTC"


def test_a_missing_table_is_not_called_a_database_that_does_not_answer(ledger_url: str) -> None:
    upgrade(ledger_url)
    ledger = open_reader(ledger_url)
    with writing(create_ledger_engine(ledger_url)) as connection:
        connection.execute(text("ALTER TABLE ledger_settings RENAME TO elsewhere"))
    with pytest.raises(ConfigError, match=r"ledger at .* is not complete \(.*ledger_settings.*updater init"):
        ledger.settings()


def test_a_refused_statement_is_not_called_a_database_that_does_not_answer(ledger_url: str) -> None:
    upgrade(ledger_url)
    insert = text(f"INSERT INTO {VERSION_TABLE} SELECT version_num FROM {VERSION_TABLE}")
    with pytest.raises(IntegrityError), writing(create_ledger_engine(ledger_url)) as connection:
        connection.execute(insert)


def test_eight_upgrades_at_once_make_one_ledger(ledger_url: str) -> None:
    barrier = Barrier(8)

    def attempt(_: int) -> None:
        barrier.wait()
        upgrade(ledger_url)
        open_writer(ledger_url).fix_setting("timezone", "UTC")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(8)))
    assert open_reader(ledger_url).setting("timezone") == "UTC"


def test_a_failed_migration_leaves_nothing(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(config: Config, revision: str) -> None:
        command.upgrade(config, revision)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("updater.ledger.revisions.command", SimpleNamespace(upgrade=killed))
        upgrade(ledger_url)
    assert inspect(create_ledger_engine(ledger_url)).get_table_names() == []
    upgrade(ledger_url)
    assert open_reader(ledger_url).heads() == {}


@pytest.mark.parametrize("open_ledger", [open_reader, open_writer])
def test_a_ledger_that_was_never_made_says_so(ledger_url: str, open_ledger: type) -> None:
    with pytest.raises(ConfigError, match="is not initialized; run `updater init`"):
        open_ledger(ledger_url)


def set_revision(ledger_url: str, revision: str) -> None:
    with writing(create_ledger_engine(ledger_url)) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :revision"), {"revision": revision})


@pytest.mark.parametrize("use", [open_reader, open_writer, upgrade])
def test_a_newer_ledger_is_left_alone(ledger_url: str, use: type) -> None:
    upgrade(ledger_url)
    set_revision(ledger_url, "9999")
    with pytest.raises(ConfigError, match="revision '9999', which this release does not know"):
        use(ledger_url)


def test_an_older_ledger_asks_for_the_migration(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade_to(ledger_url, "0001", monkeypatch)
    with pytest.raises(ConfigError, match=r"older revision '0001'; run `updater init` to migrate"):
        open_reader(ledger_url)


def upgrade_to(ledger_url: str, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger as a release with that revision made it."""
    with monkeypatch.context() as patch:
        older = SimpleNamespace(upgrade=lambda config, _: command.upgrade(config, revision))
        patch.setattr("updater.ledger.revisions.command", older)
        upgrade(ledger_url)


def test_a_ledger_of_the_first_release_is_migrated_with_its_rows(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_to(ledger_url, "0001", monkeypatch)
    with writing(create_ledger_engine(ledger_url)) as connection:
        statement = """
            INSERT INTO ledger_partitions (modality, ds, source_token, source_digest, declaration, events_file,
                num_rows, num_rejected, num_bytes, recorded_at)
            VALUES ('bill', '2026-01-05', 't', 's', 'd', 'e.parquet', 10, 1, 100, '2026-01-06 00:00:00.000000')"""
        connection.execute(text(statement))
    upgrade(ledger_url)
    (record,) = open_reader(ledger_url).partitions()
    assert (record.events_file, record.num_rows, record.num_erased) == ("e.parquet", 10, 0)
    assert open_reader(ledger_url).erased() == Erased()


def fill_third_revision(ledger_url: str) -> None:
    """What a ledger of revision 0003 holds after two promotions and a maintenance."""
    with writing(create_ledger_engine(ledger_url)) as connection:
        for statement in (
            """INSERT INTO ledger_models (version, digest, name, trained, created_at)
            VALUES (1, 'm1', 'v1', true, '2026-01-01 00:00:00'), (2, 'm2', 'v2', true, '2026-01-02 00:00:00')""",
            "INSERT INTO ledger_live_model (id, version) VALUES (1, 2)",
            "INSERT INTO ledger_settings (key, value) VALUES ('timezone', 'UTC'), ('retention.reach', '2025-12-01')",
            """INSERT INTO ledger_audit (at, actor, action, subject) VALUES
            ('2026-01-01 00:00:00', 'ann', 'promote', '{}'), ('2026-01-02 00:00:00', 'ann', 'maintain', '{}'),
            ('2026-01-02 00:00:00', 'bob', 'promote', '{}')""",
        ):
            connection.execute(text(statement))


def check_fourth_revision(ledger_url: str) -> None:
    """Promotions and the earliest recomputable day of that ledger, each in its own table now."""
    ledger = open_writer(ledger_url)
    assert (ledger.published().live, ledger.published().num_promotions) == (2, 2)
    assert ledger.earliest_recomputable() == date(2025, 12, 1)
    assert "retention.reach" not in ledger.settings()
    assert ledger.setting("timezone") == "UTC"
    assert [row.action for row in ledger.audit()] == ["promote", "maintain", "promote"]
    assert ledger.promote_model(1, ledger.published(), 1, {}, "ann", NOW)
    assert (ledger.published().live, ledger.published().num_promotions) == (1, 3)
    ledger.advance_earliest_recomputable(date(2025, 11, 1))
    assert ledger.earliest_recomputable() == date(2025, 12, 1)
    ledger.advance_earliest_recomputable(date(2026, 1, 1))
    assert ledger.earliest_recomputable() == date(2026, 1, 1)


def test_a_ledger_that_counted_promotions_in_its_audit_is_migrated(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_to(ledger_url, "0003", monkeypatch)
    fill_third_revision(ledger_url)
    upgrade(ledger_url)
    check_fourth_revision(ledger_url)


def test_the_same_on_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade_to(postgres_url, "0003", monkeypatch)
    fill_third_revision(postgres_url)
    upgrade(postgres_url)
    check_fourth_revision(postgres_url)


def test_a_fresh_ledger_has_no_reach_and_no_promotion(ledger_url: str) -> None:
    upgrade(ledger_url)
    assert open_reader(ledger_url).earliest_recomputable() is None
    assert open_reader(ledger_url).published().num_promotions == 0


def test_an_upgrade_prints_nothing_and_leaves_logging_alone(ledger_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    mine = logging.getLogger("somebody.else")
    before = (mine.disabled, logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
    upgrade(ledger_url)
    after = (mine.disabled, logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
    assert after == before
    assert capfd.readouterr() == ("", "")


# Only SQLite and no server from here on.


def test_looking_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not initialized"):
        open_reader(f"sqlite:///{tmp_path}/none/ledger.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_sqlite_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with pytest.raises(ConfigError, match="not initialized"):
        open_reader(f"sqlite:///{tmp_path}/ledger.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(ServiceUnavailableError, match=r"ledger\.db does not answer \(file is not a database\)"):
        open_reader(f"sqlite:///{tmp_path}/ledger.db")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"directory .*file/below cannot be made"):
        upgrade(f"sqlite:///{tmp_path}/file/below/ledger.db")


def test_sqlite_lets_readers_go_on_and_writers_wait(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    writer = open_writer(url)
    writer.fix_setting("a", "1")
    second = threading.Thread(target=writer.fix_setting, args=("b", "2"))
    with writing(create_ledger_engine(url)) as connection:
        connection.execute(text("DELETE FROM ledger_settings"))
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        assert open_reader(url).setting("a") == "1"
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    second.join(timeout=10)
    assert open_reader(url).setting("a") is None
    assert open_reader(url).setting("b") == "2"


def test_sqlite_checks_foreign_keys(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    with (
        pytest.raises(Exception, match="FOREIGN KEY constraint failed"),
        writing(create_ledger_engine(url)) as connection,
    ):
        connection.execute(text("INSERT INTO ledger_live_model (id, version) VALUES (1, 7)"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ledger.db", "not a database URL"),
        ("mysql://u:secret@h/d", "scheme 'mysql'"),
        ("postgresql+psycopg2://u:secret@h/d", r"scheme 'postgresql\+psycopg2'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_url_that_cannot_hold_a_ledger_is_refused(url: str, message: str) -> None:
    for use in (open_reader, open_writer, upgrade):
        with pytest.raises(ConfigError, match=message) as refused:
            use(url)
        assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    url = "postgresql+psycopg://ann:secret@127.0.0.1:1/ledger?passfile=secret&connect_timeout=5"
    for use in (open_reader, open_writer, upgrade):
        with pytest.raises(ServiceUnavailableError) as refused:
            use(url)
        message = str(refused.value)
        assert message.startswith("The ledger at postgresql+psycopg://ann:***@127.0.0.1:1/ledger does not answer (")
        assert "secret" not in message


def test_a_server_that_stops_later_is_named_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    writer = open_writer(url)
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        writer.open_window(date(2026, 1, 5), NOW, NOW)
