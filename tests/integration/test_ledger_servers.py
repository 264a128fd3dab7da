"""The ledger's unit tests again, on a real PostgreSQL, and what only a server can do."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import inspect, make_url, text

from tests.unit.test_ledger_audit import *  # noqa: F403
from tests.unit.test_ledger_erasures import *  # noqa: F403
from tests.unit.test_ledger_heads import *  # noqa: F403
from tests.unit.test_ledger_records import *  # noqa: F403
from tests.unit.test_ledger_revisions import (  # noqa: F401
    test_a_failed_migration_leaves_nothing,
    test_a_ledger_of_the_first_release_is_migrated_with_its_rows,
    test_a_ledger_that_was_never_made_says_so,
    test_a_missing_table_is_not_called_a_database_that_does_not_answer,
    test_a_newer_ledger_is_left_alone,
    test_a_refused_statement_is_not_called_a_database_that_does_not_answer,
    test_an_older_ledger_asks_for_the_migration,
    test_an_upgrade_prints_nothing_and_leaves_logging_alone,
    test_eight_upgrades_at_once_make_one_ledger,
    test_the_migrations_make_the_declared_tables,
    test_upgrading_again_keeps_everything,
)
from updater.errors import ServiceUnavailableError
from updater.ledger import open_reader, open_writer, upgrade
from updater.ledger.engine import create_ledger_engine

pytestmark = pytest.mark.services


@pytest.fixture
def ledger_url(postgres_url: str) -> str:
    return postgres_url


def test_a_ledger_shares_a_database_with_other_alembic_users(ledger_url: str) -> None:
    with create_ledger_engine(ledger_url).begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('airflow')"))
    upgrade(ledger_url)
    with create_ledger_engine(ledger_url).connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "airflow"
        names = set(inspect(connection).get_table_names()) - {"alembic_version"}
    assert names
    assert all(name.startswith("ledger_") for name in names)


def test_instants_do_not_depend_on_the_timezone_of_the_server(ledger_url: str) -> None:
    upgrade(ledger_url)
    with create_ledger_engine(ledger_url).begin() as connection:
        connection.execute(text(f"ALTER DATABASE \"{make_url(ledger_url).database}\" SET timezone TO 'Asia/Kolkata'"))
    instant = datetime(2026, 1, 6, 1, 2, 3, 4, tzinfo=UTC)
    assert open_writer(ledger_url).open_window(instant.date(), instant, instant).as_of == instant
    with create_ledger_engine(ledger_url).connect() as connection:
        assert connection.scalar(text("SELECT as_of::text FROM ledger_windows")) == "2026-01-06 01:02:03.000004"


def test_a_stricter_default_isolation_does_not_break_the_swap(ledger_url: str) -> None:
    database = make_url(ledger_url).database
    with create_ledger_engine(ledger_url).begin() as connection:
        connection.execute(text(f"ALTER DATABASE \"{database}\" SET default_transaction_isolation TO 'serializable'"))
    upgrade(ledger_url)
    test_contenders_with_other_values_or_a_gap_are_refused(open_writer(ledger_url), ledger_url)  # noqa: F405


def test_a_database_that_is_not_there_is_named(ledger_url: str) -> None:
    missing = make_url(ledger_url).set(database="updater_no_such_database", password="secret")
    with pytest.raises(ServiceUnavailableError, match=r'database "updater_no_such_database" does not exist') as refused:
        open_reader(missing.render_as_string(hide_password=False))
    assert "secret" not in str(refused.value)
