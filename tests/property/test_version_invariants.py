"""A version that becomes live late, again and again, has the values that it would have if it had always been live.

What depends on no model, the textual profile among it, does not notice: the same rows, each written once. The names of
their files tell a promotion, because a bucket goes on under the promotion's generation.
"""

from datetime import date
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.deployment import Deployment
from tests.property.test_invariants import SCENARIO_NAMES, TOLERANCE, deployment
from tests.strategies import TOUR, History, histories
from updater.domain.columns import PROFILE_VIEW, SUMMARIES_VIEW
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline.monitor.verify import verify
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import model_version, register_model
from updater.runtime.process_pool import ProcessPool

pytestmark = pytest.mark.campaign

few = settings(max_examples=max(1, settings.default.max_examples // 30))


def add_version(made: Deployment) -> None:
    """Register version 2."""
    with TemporaryDirectory() as directory:
        save_model(create_model(create_config(made.settings), 99), directory)
        register_model(made.context, directory, "other", trained=True)


def make_live(made: Deployment, version: int) -> None:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        promote(context, pool, model_version(context, version), None)


def values(made: Deployment, version: int) -> dict[tuple[str, str, Any], np.ndarray]:
    """Every embedding of a version: by scenario, user and the instants of the event and of its creation."""
    return {
        (name, row["user_id"], row["event_timestamp"], row["created_timestamp"]): np.array(
            row[f"{name}_embedding"], np.float32
        )
        for name in SCENARIO_NAMES
        for directory in Path(made.state, "offline", f"{name}_v{version}").glob("ds=*")
        for row in made.offline_rows(f"{name}_v{version}", date.fromisoformat(directory.name[3:]))
    }


def rows_without_model(made: Deployment) -> dict[str, list[str]]:
    """Every row of the views that no model version makes, as often as it is written."""
    return {
        view: sorted(
            repr(row)
            for directory in Path(made.state, "offline", view).glob("ds=*")
            for row in made.offline_rows(view, date.fromisoformat(directory.name[3:]))
        )
        for view in (PROFILE_VIEW, SUMMARIES_VIEW)
    }


@few
@example(TOUR, [1, 1, 2, 2, 1])
@given(histories(4), st.lists(st.sampled_from([1, 2]), min_size=4, max_size=4))
def test_days_and_promotions_in_any_order_give_the_same_values(history: History, live: list[int]) -> None:
    shape: dict[str, Any] = {"buffer": {"num_buckets": 2}}
    with deployment(history, **shape) as mixed, deployment(history, **shape) as always:
        add_version(mixed)
        add_version(always)
        make_live(always, 2)
        always.run(history.windows)
        for ds, version in zip(history.windows, cycle(live), strict=False):
            make_live(mixed, version)
            mixed.run([ds])
        assert rows_without_model(mixed) == rows_without_model(always)
        make_live(mixed, 2)
        expected, found = values(always, 2), values(mixed, 2)
        assert found.keys() == expected.keys()
        for key, vector in expected.items():
            np.testing.assert_allclose(found[key], vector, rtol=0, atol=TOLERANCE, err_msg=str(key))
        assert rows_without_model(mixed) == rows_without_model(always)
        assert verify(mixed.context, None).differences == []
