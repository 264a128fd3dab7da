"""Maintenance at any time, in any history, changes no value that anybody can read."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.deployment import NOW, Deployment, rows_below
from tests.property.test_invariants import SCENARIO_NAMES, deployment
from tests.strategies import TOUR, History, histories
from updater.domain.columns import PROFILE_VIEW
from updater.model.checkpoint import load_model
from updater.pipeline.compact.run import maintain
from updater.pipeline.monitor.verify import verify
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import connect

pytestmark = pytest.mark.campaign

few = settings(max_examples=settings.default.max_examples // 15)
VIEWS = [*(f"{name}_v1" for name in SCENARIO_NAMES), "modality_summaries", PROFILE_VIEW]


def offline_values(made: Deployment) -> dict[str, list[str]]:
    """All rows that Feast can find, whichever files they lie in, each once."""
    found = {}
    for view in VIEWS:
        rows = [row for path in (made.state / "offline" / view).glob("*") for row in rows_below(path)]
        found[view] = sorted({repr(sorted(row.items())) for row in rows})
    return found


def newest_summaries(made: Deployment) -> dict[str, Any]:
    """What the next window reads of everybody's summaries."""
    model = load_model(made.state / "models" / "v1")
    widths = {part.name: model.config.vector_dim(part) for part in model.config.modalities}
    found: dict[str, Any] = {}
    with connect(str(made.state)) as connection:
        for bucket in range(made.settings.buffer.num_buckets):
            files = bucket_files(str(made.state / "summaries"), bucket)
            users = summary_store.read_users(connection, files)
            table = pa.table({"user_id": pa.array(users, pa.string())})
            for modality, summary in summary_store.read_newest(connection, files, widths, table).items():
                for name, values in vars(summary).items():
                    found[f"{bucket} {modality} {name}"] = (users, values.tolist())
    return found


@few
@example(TOUR, {3, 4, 7})
@given(histories(9, "UTC"), st.sets(st.integers(0, 8)))
def test_maintenance_at_any_time_changes_no_value(history: History, stops: set[int]) -> None:
    shape: dict[str, Any] = {"buffer": {"num_buckets": 2}}
    with deployment(history, **shape) as plain, deployment(history, retention={"history_days": 1}, **shape) as made:
        plain.run(history.windows)
        for number, ds in enumerate(history.windows):
            made.run([ds])
            if number in stops:
                # The clock advances by more than a grace period, so what one maintenance merged the next one removes.
                maintain(clock(made, ds).context)
        assert offline_values(made) == offline_values(plain)
        assert repr(newest_summaries(made)) == repr(newest_summaries(plain))
        assert verify(made.context, None).differences == []


def clock(made: Deployment, ds: date) -> Deployment:
    """The deployment at a time that follows the days, each longer than a grace period."""
    return Deployment(made.settings, NOW + timedelta(days=2 * (ds - TOUR.start).days + 2))
