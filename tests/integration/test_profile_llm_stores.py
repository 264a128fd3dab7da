"""The texts that a language model keeps are the same rows in SQLite and in PostgreSQL and Redis, and leave both."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.deployment import Deployment
from tests.integration.chat_server import ChatServer
from tests.integration.kept_texts import ANN, BOB, CAT, DAYS, SHAPE, Deployed, follow, land
from tests.integration.kept_texts import deployed as deployed
from tests.integration.kept_texts import saved as saved
from tests.integration.store_helpers import store_options
from updater.domain.columns import PROFILE_LLM_SERVICE
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store

# ibis calls a name that duckdb has renamed; both still work.
pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]
USERS = [ANN, BOB, CAT, "nobody"]


def read(deployed: Deployed) -> dict[str, Any]:
    """The bytes of rows and replies, what the online store serves, and what joins give at the end of every window."""
    store = open_store(deployed.deployment.settings)
    ends = [deployed.deployment.context.window(ds).as_of for ds in DAYS]
    asked = pd.DataFrame([{"user_id": user, "event_timestamp": end} for user in USERS for end in ends])
    joined = historical_rows(store, asked, PROFILE_LLM_SERVICE)
    return {
        "files": deployed.written(),
        "online": online_rows(store, USERS, PROFILE_LLM_SERVICE),
        "joined": joined.astype(object).where(joined.notna(), None).map(str).to_dict("list"),
    }


def test_servers_hold_the_texts_that_embedded_stores_hold_until_an_erasure(
    deployed: Deployed, server: ChatServer, postgres_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    servers = {"ledger": {"url": postgres_url}, "registry": {"url": postgres_url}}
    made = Deployment.create(tmp_path, **SHAPE, **servers, online_store=store_options("redis", request))
    for ds in DAYS:
        land(made.lake, ds)
    made.run(DAYS[:2])
    served = Deployed(tmp_path, server)
    server.respond = follow
    both = (deployed, served)
    for one in both:
        one.update()
        one.deployment.run(DAYS[2:])
        assert one.update().accepted == 1
    texts = read(deployed)
    assert [text is not None for text in texts["online"]["llm_profile_text"]] == [True, False, True, False]
    assert len(texts["files"]) >= 4
    assert read(served) == texts

    for one in both:
        erase(one.deployment.context, [ANN])
        assert find(one.deployment.context, [ANN]).places == []
        assert one.recorded() == {CAT}
    left = read(served)
    assert left["online"]["llm_profile_text"] == [None, None, texts["online"]["llm_profile_text"][2], None]
    assert left == read(deployed)
    # What was replied about the other user is there: a second run asks nothing.
    asked = len(server.asked)
    assert served.update().asked == 0 and len(server.asked) == asked
