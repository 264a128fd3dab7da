"""Commands that only read work on a state that they cannot write to, and could not write if they wanted to."""

import ctypes
import gc
import os
import stat
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import get_type_hints

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from tests.deployment import Deployment, tree
from tests.factories import bill, land_rows
from updater.errors import ServiceUnavailableError
from updater.ledger import LedgerReader, LedgerWriter, open_reader, open_writer, upgrade
from updater.ledger.tables import SETTINGS
from updater.pipeline import query, query_file, user_ids
from updater.pipeline.compact.run import plan_maintenance
from updater.pipeline.daily import dry_run
from updater.pipeline.erase import proof
from updater.pipeline.monitor import health, lineage, online_check, prometheus, status, verify
from updater.pipeline.monitor.audit import record
from updater.pipeline.versions.promote import expected_model, plan_promotion
from updater.runtime.deployment import Context, WritableContext, open_context

FIRST_DAY = date(2024, 5, 1)
MODALITIES = [{"name": "bill", "text": "{category}", "max_events": 4}]
LOOKS = [
    status.status,
    health.measure,
    verify.verify,
    verify.verify_recomputed,
    online_check.compare_online,
    dry_run.plan_window,
    dry_run.plan_backfill,
    query.embed_users,
    query_file.embed_to_parquet,
    user_ids.pseudonym_of,
    prometheus.metrics_text,
    prometheus.write_configured,
    lineage.window_events,
    plan_maintenance,
    expected_model,
    plan_promotion,
    proof.find,
]
LOOK = """
import os, sys
from datetime import date
from updater.ledger import open_reader
from updater.pipeline.daily.dry_run import plan_backfill, plan_window
from updater.pipeline.compact.run import plan_maintenance
from updater.pipeline.erase.proof import find
from updater.pipeline.monitor.prometheus import metrics_text
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.query import embed_users
from updater.runtime.deployment import open_context
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

config, first, second = sys.argv[1], *map(date.fromisoformat, sys.argv[2:])
assert not os.access(os.path.dirname(config) + "/state", os.W_OK)
settings = load_settings(config, environ={})
context = open_context(settings)
assert status(context, check=True).watermark == first.isoformat()
assert plan_window(context, second).changed_users == 1
assert plan_backfill(context, first, second, restate=True).days == [second.isoformat()]
assert verify(context, 10).differences == []
with ProcessPool(settings, context.now) as pool:
    (report,) = embed_users(context, pool, ["ann"], "what next?", None)
assert len(report.embedding) == 8
assert plan_maintenance(context).dry_run
assert find(context, ["ann"]).places
assert "updater_windows_completed 1.0" in metrics_text(context)
assert open_reader(settings.ledger.url).audit()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A window, and a landed day after it."""
    deployment = Deployment.create(tmp_path_factory.mktemp("shop"), modalities=MODALITIES)
    land_rows(deployment.lake, "bill", FIRST_DAY, [bill("ann", "e1", f"{FIRST_DAY} 10:00:00")])
    deployment.run([FIRST_DAY])
    second = FIRST_DAY + timedelta(days=1)
    land_rows(deployment.lake, "bill", second, [bill("bob", "e2", f"{second} 10:00:00")])
    return deployment


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.__module__.rsplit('.', 1)[1]}.{look.__name__}")
def test_who_looks_takes_a_context_that_cannot_write(look: object) -> None:
    asked = getattr(look, "__wrapped__", look)
    assert get_type_hints(asked)["context"] is Context


def test_a_context_to_look_has_a_ledger_without_a_way_to_write(made: Deployment) -> None:
    ways = {name for name in vars(LedgerWriter) if not name.startswith("_")}
    assert ways >= {"move_head", "open_window", "record_audit"}
    context = open_context(made.settings)
    assert not [name for name in ways if hasattr(context.ledger, name)]
    assert (get_type_hints(Context)["ledger"], get_type_hints(WritableContext)["ledger"]) == (
        LedgerReader,
        LedgerWriter,
    )
    assert get_type_hints(record)["context"] is WritableContext


def refuses(url: str) -> None:
    """The reader's own connection is refused a write that the writer's is not."""
    statement = insert(SETTINGS).values(key="a", value="b")
    with (
        pytest.raises((DBAPIError, ServiceUnavailableError), match=r"read-?only"),
        open_reader(url)._engine.begin() as connection,
    ):
        connection.execute(statement)
    with open_writer(url)._engine.begin() as connection:
        connection.execute(statement)
    assert open_reader(url).setting("a") == "b"


def test_sqlite_refuses_a_readers_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    refuses(url)


def test_postgresql_refuses_a_readers_write(postgres_url: str) -> None:
    upgrade(postgres_url)
    refuses(postgres_url)


def test_who_may_not_write_the_state_can_look(made: Deployment) -> None:
    root = Path(made.settings.source).parent
    gc.collect()  # A connection that nobody holds would take its files with it in the middle.
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    files = tree(root)
    second = FIRST_DAY + timedelta(days=1)
    command = [sys.executable, "-c", LOOK, str(made.settings.source), str(FIRST_DAY), str(second)]
    cwd = Path(__file__).parents[2]
    try:
        for path, mode in before.items():
            path.chmod(mode & ~0o222)
        done = subprocess.run(command, cwd=cwd, preexec_fn=obey_modes, capture_output=True, text=True, check=False)
    finally:
        for path, mode in before.items():
            path.chmod(mode)
    assert done.returncode == 0, done.stderr
    assert tree(root) == files


def obey_modes() -> None:
    """Take from a process, if it is root's, that the modes of files do not count for it."""
    drop_from_bounding_set, override = 24, 1
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)
