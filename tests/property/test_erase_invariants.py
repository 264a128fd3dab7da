"""A history, an erasure and more days lead to the bytes of the same history in which the user never was."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property.test_invariants import deployment
from tests.strategies import TOUR, USERS, Day, History, histories
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify

pytestmark = pytest.mark.campaign

few = settings(max_examples=settings.default.max_examples // 15)


def without(history: History, user: str) -> History:
    """The history in which `user` never was."""

    def left(day: Day) -> Day:
        return {
            name: rows if rows is None else tuple(row for row in rows if row.user_id != user)
            for name, rows in day.items()
        }

    return replace(history, landings=tuple(map(left, history.landings)))


@few
@example(TOUR, "ann", 3, 2)
@given(histories(5), st.sampled_from(USERS), st.integers(0, 4), st.integers(1, 2))
def test_nobody_else_can_tell_that_a_user_was_there(history: History, user: str, number: int, num_buckets: int) -> None:
    windows, shape = history.windows, {"buffer": {"num_buckets": num_buckets}}
    with deployment(history, **shape) as made, deployment(without(history, user), **shape) as other:
        made.run(windows[:number])
        erase(made.context, [user])
        assert find(made.context, [user]).places == []
        reports = made.run(windows[number:])
        expected = other.run(windows)[number:]

        assert find(made.context, [user]).places == []
        assert made.published() == other.published()
        assert [report.active_users for report in reports] == [report.active_users for report in expected]
        assert verify(made.context, None).differences == []
