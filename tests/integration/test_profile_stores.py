"""The same history gives the same profile rows in SQLite and in PostgreSQL and Redis."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.deployment import Deployment
from tests.integration.store_helpers import store_options
from tests.strategies import TOUR, USERS
from updater.domain.columns import PROFILE_SERVICE
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store

WINDOWS = TOUR.windows[:4]
# ibis calls a name that duckdb has renamed; both still work.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")


def read(root: Path, **servers: Any) -> dict[str, Any]:
    """The bytes of the view's files, what the online store serves, and what joins give at the end of every window."""
    made = Deployment.create(root, timezone=TOUR.timezone, profile={"enabled": True}, **servers)
    TOUR.land(made.lake)
    made.run(WINDOWS)
    store = open_store(made.settings)
    ends = [made.context.window(ds).as_of for ds in WINDOWS]
    asked = pd.DataFrame([{"user_id": user, "event_timestamp": end} for user in USERS for end in ends])
    joined = historical_rows(store, asked, PROFILE_SERVICE)
    return {
        "files": {path: digest for path, digest in made.published().items() if "user_text_profile" in path},
        "online": online_rows(store, [*USERS, "nobody"], PROFILE_SERVICE),
        "joined": joined.astype(object).where(joined.notna(), None).map(str).to_dict("list"),
    }


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything in SQLite."""
    return read(tmp_path_factory.mktemp("embedded"))


@pytest.mark.services
def test_servers_hold_the_rows_that_embedded_stores_hold(
    embedded: dict[str, Any], postgres_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    servers = {"ledger": {"url": postgres_url}, "registry": {"url": postgres_url}}
    found = read(tmp_path, online_store=store_options("redis", request), **servers)
    assert len(embedded["files"]) >= 3
    assert any(embedded["online"]["profile_text"])
    assert found == embedded
