"""A config that changes in mid-life: scenarios come, change and go; modalities do not, but in a new state."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import PROFILES, Deployment, tree, write_config
from tests.factories import SCENARIOS
from tests.strategies import MODALITIES, TOUR
from updater.domain.columns import PROFILE, PROFILE_VIEW
from updater.errors import ConfigError
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.dry_run import TIMED, DryRun, plan_window
from updater.pipeline.daily.window import WindowReport
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

SHAPE: dict[str, Any] = {"buffer": {"num_buckets": 2}, **PROFILES}
BEFORE, DAY, QUIET, LAST = TOUR.windows[:4], *TOUR.windows[4:7]
"""Some users change on DAY and LAST, none on QUIET."""
FILES = ("changes", "events", "offline", "rejected", "staged", "summaries", "texts")
LAPSE, TAKEOUT = SCENARIOS
OTHER = {"name": "visit", "text": "{word} visited", "optional": True}


def live(root: Path) -> Deployment:
    """A state that has lived for some days, and a lake in which all that follows has landed."""
    made = Deployment.create(root, **SHAPE)
    TOUR.land(made.lake)
    made.run(BEFORE)
    return made


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Such a state for tests that leave it as it is."""
    return live(tmp_path_factory.mktemp("midlife"))


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    """One of the test's own."""
    return live(tmp_path)


def changed(made: Deployment, **overrides: Any) -> Deployment:
    """The same state with another config."""
    root = Path(made.settings.source).parent
    return Deployment(load_settings(write_config(root, **{**SHAPE, **overrides}), environ={}))


def plan_and_run(made: Deployment, ds: date) -> tuple[DryRun, WindowReport]:
    """The next window's plan, which changes nothing, and what it then did, which was the plan."""
    before = everything(made)
    plan = plan_window(made.context, ds)
    assert everything(made) == before
    (report,) = made.run([ds])
    assert (plan.changed_users, plan.prefixes, plan.texts_to_encode) == (
        report.changed_users,
        report.prefixes,
        report.texts_encoded,
    )
    checked = verify(made.context, None)
    assert (checked.differences, checked.awaited) == ([], [])
    return plan, report


def everything(made: Deployment) -> tuple[Any, ...]:
    """All files that windows write, and what the ledger says was done."""
    ledger = made.context.ledger
    return tree(made.state, FILES), ledger.windows(), ledger.partitions(), ledger.heads()


def test_the_estimate_rests_on_a_window_all_of_whose_steps_were_timed(made: Deployment) -> None:
    ran = made.context.ledger.windows(1)[0]
    assert ran.counts["seconds"].keys() == TIMED
    with ProcessPool(made.settings, made.context.now) as pool:
        backfill(made.context, pool, DAY, DAY)
    newest = made.context.ledger.windows(1)[0]
    rested_on = newest if newest.counts["seconds"].keys() >= TIMED else ran
    seconds = sum(rested_on.counts["seconds"].values()) / rested_on.counts["prefixes"]
    plan = plan_window(made.context, QUIET)
    assert plan.estimated_from == rested_on.ds.isoformat()
    assert plan.estimated_seconds == pytest.approx(seconds * max(plan.prefixes, 1), abs=0.06)


def users(made: Deployment, view: str, ds: date) -> set[str]:
    return {row["user_id"] for row in made.offline_rows(view, ds)}


def known(made: Deployment, last: date) -> set[str]:
    return {row["user_id"] for ds in TOUR.windows if ds <= last for row in made.summary_rows(ds)}


def test_a_changed_query_is_computed_for_everybody_once(made: Deployment) -> None:
    made.run([DAY])
    before = made.published()
    reworded = changed(made, scenarios=[{**LAPSE, "query": "Will this user stop?"}, TAKEOUT])
    plan, _ = plan_and_run(reworded, QUIET)
    assert (plan.changed_users, plan.backfill_users) == (0, len(known(made, QUIET)))
    assert users(made, "lapse_v1", QUIET) == known(made, QUIET) != set() == users(made, "takeout_v1", QUIET)
    assert users(made, PROFILE_VIEW, QUIET) == set(), "a text depends on no question"
    assert made.published(DAY) == before, "what was published under the old query stays"
    assert plan_and_run(reworded, LAST)[0].backfill_users == 0


def test_a_scenario_that_is_dropped_costs_nothing_and_comes_back_for_everybody(made: Deployment) -> None:
    before = made.published()
    fewer = changed(made, scenarios=[LAPSE])
    initialize(fewer.settings)
    plan, report = plan_and_run(fewer, DAY)
    assert (plan.backfill_users, report.prefixes) == (0, report.changed_users)
    assert (users(made, "takeout_v1", DAY), made.published(BEFORE[-1])) == (set(), before)
    again = changed(made)
    initialize(again.settings)
    plan, _ = plan_and_run(again, QUIET)
    assert (plan.changed_users, plan.backfill_users) == (0, len(known(made, QUIET)))
    assert users(made, "takeout_v1", QUIET) == known(made, QUIET) != set() == users(made, "lapse_v1", QUIET)


def test_profiles_that_are_switched_off_and_on_cost_the_embeddings_nothing(made: Deployment) -> None:
    before = made.published()
    off = changed(made, profile={"enabled": False})
    initialize(off.settings)
    plan, report = plan_and_run(off, DAY)
    assert (plan.backfill_users, report.prefixes, users(made, PROFILE_VIEW, DAY)) == (0, report.changed_users, set())
    assert made.published(BEFORE[-1]) == before
    reworded = changed(made, scenarios=[{**LAPSE, "query": "Will this user stop?"}, TAKEOUT])
    initialize(reworded.settings)
    for sample in (None, 9):
        report = verify(reworded.context, sample)
        assert (report.differences, report.awaited) == ([], ["lapse", PROFILE]), "the next window makes them anew"
        assert (report.profiles, report.embeddings) == (0, report.users)
    plan, _ = plan_and_run(reworded, QUIET)
    assert (plan.changed_users, plan.backfill_users) == (0, len(known(made, QUIET)))
    assert users(made, PROFILE_VIEW, QUIET) == users(made, "lapse_v1", QUIET) == known(made, QUIET)
    assert users(made, "takeout_v1", QUIET) == set()
    assert plan_and_run(reworded, LAST)[0].backfill_users == 0


@pytest.mark.parametrize(
    "modalities",
    [
        pytest.param([*MODALITIES, OTHER], id="added"),
        pytest.param(MODALITIES[:2], id="dropped"),
        pytest.param([{**MODALITIES[0], "max_events": 5}, *MODALITIES[1:]], id="max_events"),
        pytest.param(MODALITIES[::-1], id="order"),
    ],
)
def test_other_modalities_are_refused_before_a_window_is_opened(
    lived: Deployment, modalities: list[dict[str, Any]]
) -> None:
    before = everything(lived)
    other = changed(lived, modalities=modalities)
    words = r"modalities in .* are not those that the state was made with \(bill, search, app\)"
    with pytest.raises(ConfigError, match=words):
        plan_window(other.context, DAY)
    with pytest.raises(ConfigError, match=words):
        other.run([DAY])
    with pytest.raises(ConfigError, match=words):
        initialize(other.settings)
    assert everything(changed(lived)) == before


def test_a_new_state_takes_another_modality_from_the_same_lake(lived: Deployment, tmp_path: Path) -> None:
    before = everything(lived)
    paths = {"lake": lived.lake, "state": str(tmp_path / "new" / "state")}
    new = Deployment.create(tmp_path / "new", paths=paths, **SHAPE, modalities=[*MODALITIES, OTHER])
    plan, report = plan_and_run(new, BEFORE[0])
    assert report.prefixes == plan.changed_users == len(known(new, BEFORE[0])) > 0
    assert plan.texts_to_encode > 0, "a new state has no vectors yet"
    assert everything(lived) == before
