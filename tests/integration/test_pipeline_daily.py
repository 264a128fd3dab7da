"""Daily runs and backfills against a real store: equal bytes, equal values online and offline, no needless work."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import oracle
from tests.deployment import PROFILES, Deployment
from tests.factories import SCENARIOS, land_rows
from tests.strategies import COLUMNS, TOUR
from updater.errors import ConfigError, UnfinishedWorkError, WindowOrderError
from updater.model.inference import InferenceModel
from updater.model.text_encoder import TextEncoder
from updater.pipeline import steps
from updater.pipeline.changed_partitions import find_rewritten
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.detect import detect
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.publishing.publish import publish
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime import process_pool
from updater.runtime.process_pool import ProcessPool
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store

BERLIN = {"timezone": "Europe/Berlin"}
TWO_BUCKETS: dict[str, Any] = {"buffer": {"num_buckets": 2}, **PROFILES}


def create(root: Path, **overrides: Any) -> Deployment:
    made = Deployment.create(root, **overrides)
    TOUR.land(made.lake)
    return made


def fill(made: Deployment, from_date: date, to_date: date) -> Sequence[Any]:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        return backfill(context, pool, from_date, to_date)


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = create(tmp_path_factory.mktemp("daily"), **TWO_BUCKETS)
    made.run(TOUR.windows)
    yield made


def test_a_backfill_gives_the_bytes_of_daily_runs(tmp_path: Path, daily: Deployment) -> None:
    made = create(tmp_path, **TWO_BUCKETS)
    reports = fill(made, TOUR.windows[0], TOUR.windows[4])
    assert [report.ds for report in reports] == [str(ds) for ds in TOUR.windows[:5]]
    reports = fill(made, TOUR.windows[0], TOUR.windows[-1])
    assert [report.ds for report in reports] == [str(ds) for ds in TOUR.windows[5:]]
    assert made.published() == daily.published()
    assert sorted(made.text_ids()) == sorted(daily.text_ids())


def test_two_worker_processes_give_the_bytes_of_one(tmp_path: Path, daily: Deployment) -> None:
    made = create(tmp_path, run={"processes": 2}, **TWO_BUCKETS)
    made.run(TOUR.windows[:2])
    fill(made, TOUR.windows[2], TOUR.windows[-1])
    assert made.published() == daily.published()


def test_a_task_of_few_users_starts_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(tmp_path, run={"processes": 2}, model={"backbone": "none"}, **TWO_BUCKETS)
    config, ds = str(made.settings.source), str(TOUR.windows[0])

    def started(*_: Any) -> None:
        raise ChildProcessError

    monkeypatch.setattr(process_pool, "ProcessPoolExecutor", started)
    for modality in made.settings.modalities:
        steps.detect(ds, modality.name, config=config)
        steps.encode(ds, modality.name, config=config)
    with monkeypatch.context() as patch, pytest.raises(ChildProcessError):
        patch.setattr(steps, "FEW_USERS", 0)
        steps.refresh(ds, [0, 1], config=config)
    done = steps.refresh(ds, [0, 1], config=config)
    assert done["prefixes"] > 0
    assert steps.refresh(ds, [0, 1], config=config) == done
    steps.publish(ds, config=config)
    steps.materialize(ds, config=config)
    assert not verify(made.context, None).differences


def test_what_is_online_is_what_a_training_set_gets_at_the_same_instant(tmp_path: Path) -> None:
    made = create(tmp_path, **BERLIN)
    features = [f"{s['name']}_v1:{s['name']}_{part}" for s in SCENARIOS for part in ("embedding", "as_of")]
    features += ["modality_summaries:bill_num_events", "modality_summaries:app_last_event_at"]
    names = [feature.split(":")[1] for feature in features]
    served: list[dict[str, Any]] = []
    for ds in TOUR.windows:
        made.run([ds])
        rows = online_rows(open_store(made.settings), ["ann", "Ann", "bø", "nobody"], features)
        served += [
            {"user_id": user, "event_timestamp": made.context.window(ds).as_of, **{n: rows[n][i] for n in names}}
            for i, user in enumerate(rows["user_id"])
        ]
    asked = pd.DataFrame(served)[["user_id", "event_timestamp"]]
    joined = historical_rows(open_store(made.settings), asked, features)
    for number, row in enumerate(served):
        for name in names:
            then, value = joined[name].iloc[number], row[name]
            where = f"{name} of {row['user_id']!r} at {row['event_timestamp']}"
            if value is None:
                assert np.ndim(then) == 0 and pd.isna(then), where
            else:
                np.testing.assert_array_equal(np.asarray(then, np.float32), np.asarray(value, np.float32), where)


def test_the_models_are_asked_once_per_new_text_and_changed_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    users: list[int] = []
    encode, embed = TextEncoder.encode, InferenceModel.embed

    def counting_encode(self: TextEncoder, asked: Sequence[str], *args: Any) -> Any:
        texts.extend(asked)
        return encode(self, asked, *args)

    def counting_embed(self: InferenceModel, batch: Any, queries: Sequence[str], *args: Any) -> Any:
        users.append(batch.num_users)
        assert len(queries) == len(SCENARIOS), "all scenarios are read off one prefix"
        return embed(self, batch, queries, *args)

    monkeypatch.setattr(TextEncoder, "encode", counting_encode)
    monkeypatch.setattr(InferenceModel, "embed", counting_embed)
    made = create(tmp_path, **TWO_BUCKETS)
    for ds in TOUR.windows:
        texts.clear()
        users.clear()
        made.run([ds])
        # Beside them every process encodes the scenarios' questions, whose vectors are not stored.
        questions = {scenario["query"] for scenario in SCENARIOS}
        assert sorted(text for text in texts if text not in questions) == sorted(oracle.new_texts(TOUR, ds))
        assert sum(users) == len({user for user, _ in oracle.changed_summaries(TOUR, ds)})


def test_the_last_expiry_publishes_an_empty_profile_once(daily: Deployment) -> None:
    last = TOUR.windows[-1]
    (row,) = daily.offline_rows("modality_summaries", last)
    assert (row["user_id"], row["search_num_events"], row["search_last_event_at"]) == ("ann", 0, None)
    (embedding,) = daily.offline_rows("lapse_v1", last)
    assert np.isclose(np.linalg.norm(embedding["lapse_embedding"]), 1.0)
    assert verify(daily.context, None).differences == []


def test_a_snapshot_that_lands_in_the_middle_of_a_run_waits_for_its_restatement(tmp_path: Path) -> None:
    made = create(tmp_path, **TWO_BUCKETS)
    ds = TOUR.windows[2]
    made.run(TOUR.windows[:2])
    context = made.context
    window = context.window(ds)
    open_window(context, window)
    with ProcessPool(made.settings, context.now) as pool:
        for modality in made.settings.modalities:
            detect(context, window, modality)
        list(refresh_days(pool, [ds], [0]))
    rows = [{**TOUR.landings[1]["app"][0].values(), "word": "rice", "user_id": user} for user in ("ann", "bø", "u7")]
    land_rows(made.lake, "app", ds, rows, columns=COLUMNS)

    made.run([ds])
    assert context.ledger.partition("app", ds) is None
    assert verify(context, None).differences == []
    assert [(modality.name, day) for modality, day, _ in find_rewritten(context, ds, ds)] == [("app", ds)]
    later = Deployment(made.settings, made.now + timedelta(hours=1)).context
    with ProcessPool(made.settings, later.now) as pool:
        assert restate_range(later, pool, ds, ds)["users"] == 3
    assert verify(later, None).differences == []
    assert {row["user_id"] for row in made.offline_rows("lapse_v1", ds)} >= {"ann", "bø", "u7"}


def test_an_unfinished_window_comes_first(tmp_path: Path) -> None:
    made = create(tmp_path)
    first, second = TOUR.windows[:2]
    made.run([first])
    context = made.context
    open_window(context, context.window(second))
    with pytest.raises(UnfinishedWorkError, match=f"{second} was started but not finished"):
        made.run([TOUR.windows[2]])
    with pytest.raises(WindowOrderError, match="Bucket 0 is at"):
        publish(context, context.window(second))
    made.run([second, TOUR.windows[2]])


def test_a_model_whose_files_changed_is_not_used(tmp_path: Path) -> None:
    made = create(tmp_path)
    weights = made.state / "models" / "v1" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match="restore the model's files"):
        made.run(TOUR.windows[:1])
    weights.write_bytes(content)
    made.run(TOUR.windows[:1])
