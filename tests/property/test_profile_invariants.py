"""The textual profile through the real daily update, over histories that nobody thought of."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.deployment import Deployment
from tests.profile_events import write
from tests.strategies import BUFFER_DAYS, TOUR, WORDS, Day, History, Row, histories
from updater.domain.columns import PROFILE_AS_OF, PROFILE_VIEW
from updater.pipeline.monitor.verify import verify

MEMORY = Path("/dev/shm")
NOTHING = "No events are known."
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
                text = rebuilt[user].text if user in rebuilt else NOTHING
                assert row["profile_text"] == text, f"{user!r} at {ds}"
                assert row["profile_modalities"] == list(rebuilt[user].modalities if user in rebuilt else ())
                seconds = rebuilt[user].newest_event if user in rebuilt else None
                assert row["profile_newest_event_at"] == seconds
                told = (rebuilt[user].foresight, rebuilt[user].questions) if user in rebuilt else (None, 0)
                assert (row["profile_foresight_7d"], row["profile_foresight_7d_questions"]) == told
                assert row["profile_tokens"] == -(-len(text.encode()) // 4)


YEAR = date(2024, 1, 1)


@st.composite
def years(draw: st.DrawFn, num_days: int) -> History:
    """A user who buys and searches seldom: most windows have nothing, or only what falls out of the buffer."""
    active = draw(st.sets(st.integers(0, num_days - 1), min_size=num_days // 12, max_size=num_days // 6))
    words = st.sampled_from(WORDS[:3])
    landings: list[Day] = []
    for number in range(num_days):
        noon = datetime.combine(YEAR + timedelta(days=number), datetime.min.time(), UTC) + timedelta(hours=12)
        bought = [draw(words)] * 2 if number in active or number == 0 else []
        bills = [Row("ann", f"{number}-{n}", noon + timedelta(hours=n), word, 1.0) for n, word in enumerate(bought)]
        landings.append({"bill": tuple(bills), "search": tuple(bills[: number % 2]), "app": None})
    return History(YEAR, "UTC", 0, tuple(landings))


@pytest.mark.parametrize("num_days", [25, pytest.param(366, marks=[pytest.mark.slow, pytest.mark.campaign])])
@settings(max_examples=1)
@given(st.data())
def test_a_year_of_windows_does_not_drift(num_days: int, data: st.DataObject) -> None:
    """After any number of updates the newest row is what one look at the buffer gives, and what a state writes that
    begins on the last day; no day without a change of the buffer wrote a row.
    """
    history = data.draw(years(num_days))
    shape: dict[str, Any] = {"profile": {"enabled": True}, "model": {"backbone": "none"}}
    with TemporaryDirectory(prefix="updater-", dir=MEMORY if MEMORY.is_dir() else None) as root:
        made = Deployment.create(Path(root, "year"), **shape)
        history.land(made.lake)
        newest: dict[str, Any] = {}
        num_written = 0
        for report in made.run(history.windows):
            ds = date.fromisoformat(report.ds)
            rows = {row["user_id"]: row for row in made.offline_rows(PROFILE_VIEW, ds)}
            assert rows.keys() == {user for user, _ in oracle.changed_summaries(history, ds)}
            newest |= rows
            num_written += len(rows)
            rebuilt = expected(history, ds)
            text = rebuilt["ann"].text if rebuilt else NOTHING
            assert newest["ann"]["profile_text"] == text, ds
        assert 0 < num_written < num_days
        assert verify(made.context, None).differences == []
        last = history.windows[-1]
        begun = Deployment.create(Path(root, "day"), **shape)
        history.land(begun.lake, history.days[-BUFFER_DAYS:])
        begun.run([last])
        written = begun.offline_rows(PROFILE_VIEW, last)
        assert [values(row) for row in written] == [values(newest["ann"]) for _ in written]
        assert bool(written) == bool(expected(history, last))


def values(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, without when it was said."""
    return {name: value for name, value in row.items() if name.startswith("profile_") and name != PROFILE_AS_OF}
