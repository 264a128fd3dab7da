"""Several model versions in one state: registered, made live with rows of the past, gone back from, removed."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests import oracle
from tests.deployment import NOW, PROFILES, Deployment, encoder_directory
from tests.factories import SCENARIOS, land_rows
from tests.strategies import COLUMNS, TOUR
from updater.domain.columns import PROFILE_VIEW
from updater.errors import ConfigError, NotFoundError, UnfinishedWorkError, VerificationError
from updater.ledger import ModelRecord
from updater.model.checkpoint import create_model, load_model, save_model
from updater.model.config import create_config
from updater.model.text_encoder import load_text_encoder
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.daily.window import prepare
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.pipeline.versions.promote import PromotionReport, plan_promotion, promote
from updater.pipeline.versions.registry import model_version, prune_version, register_model
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import StepTimes

pytestmark = pytest.mark.campaign

NAMES = [scenario["name"] for scenario in SCENARIOS]
QUERIES = [scenario["query"] for scenario in SCENARIOS]
VIEWS = [f"{name}_v2" for name in NAMES]
FIRST, SECOND, THIRD, FOURTH = TOUR.windows[:4]


class Tuned:
    """The model as the daily update asks it: with the scenarios' soft prompts."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config

    def embed(self, batch: Any, queries: list[str]) -> Any:
        return self.model.embed(batch, queries, NAMES)


def new_model(made: Deployment, directory: Path, seed: int = 99, **changes: Any) -> Path:
    """Another model for the same config, with a soft prompt for the first scenario."""
    config = create_config(made.settings)
    model = create_model(type(config)(**{**vars(config), **changes}), seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.soft_prompts[NAMES[0]] = nn.Parameter(torch.randn(2, model.backbone.config.hidden_size))
    save_model(model, directory)
    return directory


def make_live(made: Deployment, model: ModelRecord, from_date: date | None = None, **more: Any) -> PromotionReport:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        return promote(context, pool, model, from_date, **more)


def rows(made: Deployment, view: str) -> dict[tuple[str, Any], dict[str, Any]]:
    """Per user and instant the row that counts."""
    newest: dict[tuple[str, Any], dict[str, Any]] = {}
    days = sorted(path.name[3:] for path in (made.state / "offline" / view).glob("ds=*"))
    found = [row for day in days for row in made.offline_rows(view, date.fromisoformat(day))]
    for row in sorted(found, key=lambda row: row["created_timestamp"]):
        newest[row["user_id"], row["event_timestamp"]] = row
    return newest


def check_rows(made: Deployment, model: ModelRecord, keys: dict[str, Any]) -> None:
    """The version has exactly the rows with `keys` (user and instant, by scenario), with the values of that instant."""
    loaded, encoder = Tuned(load_model(made.state / "models" / "v2")), load_text_encoder(encoder_directory())
    for position, name in enumerate(NAMES):
        own, former = rows(made, f"{name}_v2"), rows(made, f"{name}_v1")
        assert own.keys() == keys[name]
        for (user, instant), row in own.items():
            assert row["created_timestamp"] == former[user, instant]["created_timestamp"]
            assert row[f"{name}_model_version"] == model.name
            ds = instant.date() - timedelta(days=1)
            expected = oracle.embeddings(TOUR, user, ds, loaded, encoder, QUERIES)[position]
            np.testing.assert_allclose(row[f"{name}_embedding"], expected, rtol=0, atol=1e-5)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    """Three windows by version 1."""
    deployment = Deployment.create(tmp_path, timezone=TOUR.timezone, **PROFILES)
    TOUR.land(deployment.lake)
    deployment.run([FIRST, SECOND, THIRD])
    yield deployment


@pytest.fixture
def second(made: Deployment, tmp_path: Path) -> ModelRecord:
    """Version 2, registered."""
    return register_model(made.context, new_model(made, tmp_path / "new"), "Nightly run!", trained=True)


def test_a_model_is_registered_once_and_only_if_it_fits(made: Deployment, second: ModelRecord, tmp_path: Path) -> None:
    assert (second.version, second.live, second.trained) == (2, False, True)
    assert second.name == f"v2-nightly-run-{second.digest[:8]}"
    assert register_model(made.context, tmp_path / "new", "again", trained=False) == second
    assert register_model(made.context, made.state / "models" / "v1", "first", trained=True).version == 1
    assert {path.name for path in (made.state / "models").iterdir()} == {"v1", "v2"}
    wrong = {"embedding_dim": 4, "text_encoder_version": "other-000000000000", "modalities": ()}
    for number, (name, value) in enumerate(wrong.items()):
        with pytest.raises(ConfigError, match=r"was made for .* set the config back"):
            register_model(made.context, new_model(made, tmp_path / str(number), **{name: value}), "x", trained=True)
    (tmp_path / "new" / "config.json").unlink()
    with pytest.raises(ConfigError, match="no complete model"):
        register_model(made.context, tmp_path / "new", "x", trained=True)
    assert [record.version for record in made.context.ledger.models()] == [1, 2]


def test_a_promoted_version_has_the_rows_of_the_past_and_goes_on(made: Deployment, second: ModelRecord) -> None:
    before = made.published()
    plan = plan_promotion(made.context, second, None)
    assert (plan.dry_run, plan.windows, made.published()) == (True, 3, before)

    report = make_live(made, second)
    assert (report.former[:3], report.windows, report.verified_users) == ("v1-", 3, len(oracle_users(THIRD)))
    assert (report.prefixes, report.rows) == (plan.prefixes, plan.rows)
    after = made.published()
    assert {path: after[path] for path in before} == before, "the former version stays as it was"
    check_rows(made, second, {name: rows(made, f"{name}_v1").keys() for name in NAMES})
    assert make_live(made, second).already_live

    (window,) = made.run([FOURTH])
    changed = {user for user, _ in oracle.changed_summaries(TOUR, FOURTH)}
    assert (window.prefixes, window.model) == (len(changed), second.name), "a promotion makes nobody change"
    assert {row["user_id"] for row in made.offline_rows(VIEWS[0], FOURTH)} == changed
    assert not made.offline_rows(f"{NAMES[0]}_v1", FOURTH)
    assert verify(made.context, None).differences == []
    entries = status(made.context).versions
    assert [(entry["version"], entry["live"]) for entry in entries] == [(1, False), (2, True)]

    back = make_live(made, model_version(made.context, 1))
    assert back.prefixes == len(changed), "only the missed window is made"
    assert rows(made, f"{NAMES[0]}_v1").keys() == rows(made, VIEWS[0]).keys()
    assert verify(made.context, None).differences == []
    actions = [(record.action, record.subject.get("version")) for record in made.context.ledger.audit()]
    assert [version for action, version in actions if action == "promote"] == [1, 2]


def oracle_users(ds: date) -> set[str]:
    """Everybody who ever had content up to `ds`."""
    days = [day for day in TOUR.windows if day <= ds]
    return {user for day in days for user, _ in oracle.changed_summaries(TOUR, day)}


@pytest.mark.parametrize(("from_date", "earliest"), [(THIRD, None), (FOURTH, None), (None, THIRD)])
def test_a_later_first_day_keeps_what_counts_on_it(
    made: Deployment, second: ModelRecord, from_date: date | None, earliest: date | None
) -> None:
    if earliest is not None:
        made.context.ledger.advance_earliest_recomputable(earliest)
        with pytest.raises(ConfigError, match=f"Days before {earliest} were dropped"):
            make_live(made, second, from_date=SECOND)
    make_live(made, second, from_date=from_date)
    as_of = made.context.window(from_date or THIRD).as_of.replace(tzinfo=None)
    keys = {}
    for name in NAMES:
        former = rows(made, f"{name}_v1").keys()
        newest = {user: max(t for u, t in former if u == user and t < as_of) for user, t in former if t < as_of}
        keys[name] = {(user, t) for user, t in former if t >= as_of} | set(newest.items())
    check_rows(made, second, keys)
    made.run([FOURTH])
    assert verify(made.context, None).differences == []


def test_a_window_that_is_committed_meanwhile_is_made_too(made: Deployment, second: ModelRecord) -> None:
    labels: list[str] = []

    def run_the_next_day(label: str, *_: int) -> None:
        labels.append(label)
        if label == "verifying" and labels.count("verifying") == 1:
            made.run([FOURTH])

    assert make_live(made, second, progress=run_the_next_day).windows == 4
    assert rows(made, VIEWS[0]).keys() == rows(made, f"{NAMES[0]}_v1").keys()
    assert any(instant == made.context.window(FOURTH).as_of.replace(tzinfo=None) for _, instant in rows(made, VIEWS[0]))
    assert verify(made.context, None).differences == []


def test_work_in_progress_is_not_superseded(made: Deployment, second: ModelRecord) -> None:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        open_window(context, context.window(FOURTH))
        prepare(context, pool, context.window(FOURTH), StepTimes())
        list(refresh_days(pool, [FOURTH], [0]))
    with pytest.raises(UnfinishedWorkError, match=f"The window {FOURTH} is in progress"):
        make_live(made, second)
    assert context.live_model().version == 1
    made.run([FOURTH])
    make_live(made, second)
    assert verify(made.context, None).differences == []


def test_a_version_that_fails_verification_is_not_live(made: Deployment, second: ModelRecord) -> None:
    # Rows of the first version in the views of the second: there, and wrong.
    for view in VIEWS:
        for source in sorted((made.state / "offline" / view.replace("_v2", "_v1")).rglob("*.parquet")):
            target = made.state / "offline" / view / source.parent.name / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    with pytest.raises(VerificationError, match="Model version 2 is not live") as refused:
        make_live(made, second)
    assert refused.value.findings, "every difference, not only the first"
    assert made.context.live_model().version == 1
    assert verify(made.context, None).differences == []


def test_going_back_takes_over_what_was_restated(made: Deployment, second: ModelRecord) -> None:
    make_live(made, second)
    seen = TOUR.landings[TOUR.first_window + 1]["bill"] or ()
    land_rows(made.lake, "bill", SECOND, [{**row.values(), "amount": 77.0} for row in seen], columns=COLUMNS)
    later = Deployment(made.settings, NOW + timedelta(hours=1))
    with ProcessPool(made.settings, later.now) as pool:
        assert restate_range(later.context, pool, FIRST, THIRD)["values"] > 0
    assert verify(later.context, None).differences == []
    make_live(later, model_version(later.context, 1))
    assert verify(later.context, None).differences == []
    own, other = (rows(made, f"{NAMES[0]}_v{version}") for version in (1, 2))
    assert {key: row["created_timestamp"] for key, row in own.items()} == {
        key: row["created_timestamp"] for key, row in other.items()
    }


def test_a_removed_version_is_gone_and_can_come_back(made: Deployment, second: ModelRecord, tmp_path: Path) -> None:
    from updater.store.access import online_rows
    from updater.store.repository.connecting import open_store

    make_live(made, second)
    with pytest.raises(ConfigError, match="Model version 2 is live"):
        prune_version(made.context, 2)
    assert online_rows(open_store(made.settings), ["ann"], "risk_v1")[f"{NAMES[0]}_model_version"] != [None]
    report = prune_version(made.context, 1)
    assert report.feature_views == sorted(f"{name}_v1" for name in NAMES)
    assert prune_version(made.context, 1).already_done
    store = open_store(made.settings)
    assert {view.name for view in store.list_feature_views()} == {*VIEWS, "modality_summaries", PROFILE_VIEW}
    assert {service.name for service in store.list_feature_services()} == {"risk_v2", "marketing_v2", "profile_v1"}
    assert [path.name for path in (made.state / "offline").iterdir() if path.name.endswith("_v1")] == [PROFILE_VIEW]
    assert [entry["removed"] for entry in status(made.context).versions] == [True, False]
    with pytest.raises(NotFoundError, match="Model version 1 was removed"):
        model_version(made.context, 1)
    with pytest.raises(NotFoundError, match="Model version 7 does not exist; known: 1, 2"):
        model_version(made.context, 7)
    assert verify(made.context, None).differences == []
    third = register_model(made.context, new_model(made, tmp_path / "third", seed=5), "third", trained=True)
    assert third.version == 3


def test_a_question_is_answered_from_the_stored_state(made: Deployment, second: ModelRecord) -> None:
    make_live(made, second)
    made.run([FOURTH])
    user = min(
        user
        for user, _ in oracle.changed_summaries(TOUR, FOURTH)
        if any(user in oracle.content(TOUR, modality, FOURTH) for modality in oracle.NAMES)
    )
    for name in NAMES:
        (row,) = (row for row in made.offline_rows(f"{name}_v2", FOURTH) if row["user_id"] == user)
        report = made.embed(user, None, name)
        published = np.array(row[f"{name}_embedding"], np.float32)
        assert np.array(report.embedding, np.float32).tobytes() == published.tobytes()
        assert (report.model, report.as_of) == (second.name, made.context.window(FOURTH).as_of.isoformat())
    asked = np.array(made.embed(user, QUERIES[1], None).embedding)
    np.testing.assert_allclose(asked, made.embed(user, None, NAMES[1]).embedding, atol=1e-5)
    plain = np.array(made.embed(user, QUERIES[0], None).embedding)
    assert np.abs(plain - made.embed(user, None, NAMES[0]).embedding).max() > 1e-3, "no soft prompt"
    assert np.linalg.norm(made.embed(user, "milk?", None).embedding) == pytest.approx(1, abs=1e-5)
    with pytest.raises(
        NotFoundError, match=r"User 'nobody' has no stream event in the 3 days up to .* and no snapshot"
    ):
        made.embed("nobody", "milk?", None)
    with pytest.raises(NotFoundError, match="Scenario 'x' is not in"):
        made.embed(user, None, "x")
    for both in ((None, None), ("milk?", NAMES[0]), (" ", None)):
        with pytest.raises(ConfigError, match="Ask one question"):
            made.embed(user, *both)


def test_asking_does_not_import_feast() -> None:
    code = "import sys, updater.pipeline.query; print('feast' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "False\n"), result.stderr
