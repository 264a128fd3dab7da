"""The textual profile through the real daily update, over histories that nobody thought of."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings

from tests import oracle
from tests.deployment import Deployment
from tests.profile_events import write
from tests.strategies import TOUR, History, histories
from updater.domain.columns import PROFILE_VIEW

MEMORY = Path("/dev/shm")
few = settings(max_examples=max(settings.default.max_examples // 50, 1))


def expected(history: History, ds: date) -> dict[str, Any]:
    """Per user the text that follows from what the buffer should hold, counted the slow and plain way."""
    held = {name: oracle.content(history, name, ds) for name in oracle.NAMES}
    users = sorted({user for content in held.values() for user in content})
    events = [
        {
            name: [(row.event_time if name in oracle.STREAMS else None, row.word) for row in content.get(user, ())]
            for name, content in held.items()
        }
        for user in users
    ]
    return dict(zip(users, write(events, states=["app"]).profiles, strict=True)) if users else {}


@few
@example(TOUR)
@given(histories())
def test_days_in_any_partition_give_the_texts_of_one_rebuild(history: History) -> None:
    """New, late, replaced, deleted, sent again, expired: what is published is a function of the buffer alone."""
    with TemporaryDirectory(prefix="updater-", dir=MEMORY if MEMORY.is_dir() else None) as root:
        made = Deployment.create(Path(root), timezone=history.timezone, profile={"enabled": True})
        history.land(made.lake)
        newest: dict[str, Any] = {}
        for report in made.run(history.windows):
            ds = date.fromisoformat(report.ds)
            rows = {row["user_id"]: row for row in made.offline_rows(PROFILE_VIEW, ds)}
            assert rows.keys() == {user for user, _ in oracle.changed_summaries(history, ds)}
            newest |= rows
            rebuilt = expected(history, ds)
            for user, row in newest.items():
                text = rebuilt[user].text if user in rebuilt else "No events are known."
                assert row["profile_text"] == text, f"{user!r} at {ds}"
                assert row["profile_modalities"] == list(rebuilt[user].modalities if user in rebuilt else ())
                seconds = rebuilt[user].newest_event if user in rebuilt else None
                assert row["profile_newest_event_at"] == seconds
                assert row["profile_tokens"] == -(-len(text.encode()) // 4)
