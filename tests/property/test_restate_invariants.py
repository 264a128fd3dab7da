"""Restating a rewritten partition leads to the values of a lake that had always been so."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.deployment import NOW, Deployment
from tests.property import test_profile_invariants as profiles
from tests.property.test_invariants import QUERIES, SCENARIO_NAMES, TOLERANCE, deployment, text_encoder
from tests.strategies import TOUR, Day, History, histories
from updater.domain.columns import PROFILE_VIEW
from updater.model.checkpoint import load_model
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime.process_pool import ProcessPool

pytestmark = pytest.mark.campaign

few = settings(max_examples=settings.default.max_examples // 15)


def point_in_time(made: Deployment, view: str, ds: date) -> dict[str, Any]:
    """Per user the row that a training set of `ds` gets: the last correction of the newest row."""
    newest: dict[str, Any] = {}
    days = sorted(path.name[3:] for path in (made.state / "offline" / view).glob("ds=*"))
    rows = [row for day in days if day <= str(ds) for row in made.offline_rows(view, date.fromisoformat(day))]
    for row in sorted(rows, key=lambda row: (row["event_timestamp"], row["created_timestamp"])):
        newest[row["user_id"]] = row
    return newest


@few
@example(TOUR, {"bill": (), "search": (), "app": ()}, 2, 2)
@example(TOUR, TOUR.landings[4], 1, 2)
@example(TOUR, TOUR.landings[2], 4, 2)
@example(TOUR, TOUR.landings[4], 5, 2)
@given(
    histories(5, "UTC"), histories(2, "UTC").map(lambda other: other.landings[0]), st.integers(0, 4), st.integers(0, 2)
)
def test_restated_values_are_those_of_the_rewritten_lake(history: History, other: Day, number: int, back: int) -> None:
    # Streams are restated as far back as the buffer of the last window reaches.
    history = replace(history, landings=history.landings[: number + back + 1])
    number = min(number, len(history.landings) - 1)
    history = replace(history, first_window=min(history.first_window, len(history.landings) - 1))
    landings = list(history.landings)
    # A modality that did not land stays away; what replaces a landing is as late as itself.
    landings[number] = {
        name: rows if rows is None else tuple(earlier(row, history.days[number]) for row in other[name] or ())
        for name, rows in landings[number].items()
    }
    changed = replace(history, landings=tuple(landings))
    with deployment(history) as made:
        made.run(history.windows)
        changed.land(made.lake, [history.days[number]])
        context = Deployment(made.settings, NOW + timedelta(hours=1)).context
        with ProcessPool(made.settings, context.now) as pool:
            restate_range(context, pool, history.days[0], history.days[-1])
        model = load_model(made.state / "models" / "v1")
        for ds in history.windows:
            for position, name in enumerate(SCENARIO_NAMES):
                rows = point_in_time(made, f"{name}_v1", ds)
                users = {user for modality in oracle.NAMES for user in oracle.content(changed, modality, ds)}
                assert users <= rows.keys()
                for user, row in rows.items():
                    expected = oracle.embeddings(changed, user, ds, model, text_encoder(), QUERIES)[position]
                    found = np.array(row[f"{name}_embedding"], np.float32)
                    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=f"{user!r} at {ds}")
            texts = profiles.expected(changed, ds)
            for user, row in point_in_time(made, PROFILE_VIEW, ds).items():
                text = texts[user].text if user in texts else profiles.NOTHING
                assert row["profile_text"] == text, f"{user!r} at {ds}"
        assert verify(context, None).differences == []


def earlier(row: Any, ds: date) -> Any:
    """The row, if need be moved to before the end of its landing day."""
    end = datetime(ds.year, ds.month, ds.day, tzinfo=UTC) + timedelta(days=1)
    return row if row.event_time < end else replace(row, event_time=end - timedelta(hours=1))
