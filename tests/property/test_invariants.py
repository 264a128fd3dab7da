"""The invariants of the daily update, over histories that nobody thought of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.deployment import PROFILES, Deployment, encoder_directory
from tests.factories import SCENARIOS
from tests.strategies import MODALITIES, TOUR, History, histories
from updater.domain.columns import PROFILE_VIEW
from updater.model.checkpoint import load_model
from updater.model.layouts.text_statistics import user_texts
from updater.model.layouts.user_columns import user_columns
from updater.model.text_encoder import load_text_encoder
from updater.pipeline.daily.bucket_values import read_buffer
from updater.pipeline.daily.detect import detect
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.intake.encode import encode
from updater.pipeline.daily.publishing.publish import commit, publish
from updater.pipeline.daily.refresh import refresh_days
from updater.pipeline.daily.window import prepare
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.runtime.timing import StepTimes
from updater.users.event_batches import user_batch

TOLERANCE = 1e-5
SCENARIO_NAMES = [scenario["name"] for scenario in SCENARIOS]
QUERIES = [scenario["query"] for scenario in SCENARIOS]
# A file system in memory, where there is one, does not wait for the disk at every fsync.
MEMORY = Path("/dev/shm")
# An example is a few real windows: a second, not a millisecond.
few = settings(max_examples=settings.default.max_examples // 15)


@contextmanager
def deployment(history: History, **overrides: Any) -> Iterator[Deployment]:
    with TemporaryDirectory(prefix="updater-", dir=MEMORY if MEMORY.is_dir() else None) as root:
        made = Deployment.create(Path(root), timezone=history.timezone, **PROFILES, **overrides)
        history.land(made.lake)
        yield made


@cache
def text_encoder() -> Any:
    return load_text_encoder(encoder_directory())


def read_embeddings(made: Deployment, ds: date) -> dict[tuple[str, str], np.ndarray]:
    return {
        (row["user_id"], name): np.array(row[f"{name}_embedding"], np.float32)
        for name in SCENARIO_NAMES
        for row in made.offline_rows(f"{name}_v1", ds)
    }


@few
@example(TOUR)
@given(histories())
def test_statistics_equal_a_rebuild_to_the_bit(history: History) -> None:
    """Whatever order events arrived in, and whoever is read along: late, replaced, deleted, sent again, expired."""
    with deployment(history) as made:
        made.run(history.windows)
        context, ds = made.context, history.windows[-1]
        known = sorted({user for name in oracle.NAMES for user in oracle.content(history, name, ds)})
        with Session(context) as tools:
            config = tools.model.config
            buffered = read_buffer(context, tools, context.window(ds), [0], known)
        if not known:
            return
        together = user_batch(buffered.events, np.arange(len(known)))
        columns, texts = user_columns(config, together), user_texts(config, together)
        for row, user in enumerate(known):
            alone = oracle.batch(history, user, ds, config, text_encoder())
            np.testing.assert_array_equal(columns[row], user_columns(config, alone)[0])
            rebuilt, own = user_texts(config, alone), slice(*texts.offsets_B1[row : row + 2])
            np.testing.assert_array_equal(texts.statistics_TK[own], rebuilt.statistics_TK)
            np.testing.assert_array_equal(texts.vectors_VX[texts.row_T[own]], rebuilt.vectors_VX[rebuilt.row_T])
            assert (
                tools.inference.embed(together, QUERIES)[row].tobytes()
                == tools.inference.embed(alone, QUERIES).tobytes()
            )


@few
@example(TOUR)
@given(histories())
def test_work_follows_change_and_values_equal_a_rebuild(history: History) -> None:
    with deployment(history) as made:
        model = load_model(made.state / "models" / "v1")
        widths = {part.name: model.config.vector_dim(part) for part in model.config.modalities}
        for report in made.run(history.windows):
            ds = date.fromisoformat(report.ds)
            cells = oracle.changed_summaries(history, ds)
            users = {user for user, _ in cells}

            stored = {(row.pop("user_id"), row.pop("modality")): row for row in made.summary_rows(ds)}
            assert stored.keys() == cells, f"summaries of {ds}"
            for user, modality in cells:
                rows = oracle.content(history, modality, ds).get(user, ())
                expected = oracle.summary(modality, rows, text_encoder(), widths[modality])
                found = {name: stored[user, modality][name] for name in expected}
                assert found == expected, f"{modality} summary of {user!r} at {ds}"

            published = read_embeddings(made, ds)
            assert published.keys() == {(user, name) for user in users for name in SCENARIO_NAMES}
            for user in users:
                rebuilt = oracle.embeddings(history, user, ds, model, text_encoder(), QUERIES)
                for name, vector in zip(SCENARIO_NAMES, rebuilt, strict=True):
                    np.testing.assert_allclose(published[user, name], vector, rtol=0, atol=TOLERANCE)

            profiles = made.offline_rows("modality_summaries", ds)
            assert {row["user_id"] for row in profiles} == users
            for row in profiles:
                for modality in oracle.NAMES:
                    rows = oracle.content(history, modality, ds).get(row["user_id"], ())
                    last = int(rows[-1].event_time.timestamp()) if rows and modality in oracle.STREAMS else None
                    assert (row[f"{modality}_num_events"], row[f"{modality}_last_event_at"]) == (len(rows), last)

            assert (report.changed_users, report.changed_summaries, report.prefixes) == (
                len(users),
                len(cells),
                len(users),
            )
            assert report.texts_encoded == len(oracle.new_texts(history, ds))
            if not cells:
                assert not list(made.state.glob(f"offline/*/ds={ds}")) + list(made.state.glob(f"summaries/ds={ds}"))
        ids = made.text_ids()
        assert len(ids) == len(set(ids)) == len(set().union(*(oracle.new_texts(history, ds) for ds in history.windows)))


def run_step_by_step(made: Deployment, ds: date, modalities: list[str]) -> None:
    """A window without the online store, its modalities in another order."""
    context = made.context
    window = context.window(ds)
    open_window(context, window)
    with ProcessPool(made.settings, context.now) as pool:
        for name in modalities:
            detect(context, window, made.settings.modality(name))
        for name in reversed(modalities):
            encode(context, window, made.settings.modality(name), pool.encode)
        list(refresh_days(pool, [ds], range(made.settings.buffer.num_buckets)))
    publish(context, window)
    commit(context, window, {})


@few
@given(histories(4), st.permutations([modality["name"] for modality in MODALITIES]))
def test_again_and_in_another_order_gives_the_same_bytes(history: History, modalities: list[str]) -> None:
    with deployment(history) as made, deployment(history) as other:
        made.run(history.windows)
        before = made.published()
        assert all(report.already_done for report in made.run(history.windows))
        for ds in history.windows:
            run_step_by_step(made, ds, modalities)
        assert made.published() == before
        for ds in history.windows:
            run_step_by_step(other, ds, modalities)
        assert other.published() == before


@few
@given(histories(4, "Europe/Berlin"), histories(5, "Europe/Berlin"), st.data())
def test_nothing_that_lands_later_changes_what_was_published(
    history: History, other: History, data: st.DataObject
) -> None:
    number = data.draw(st.integers(history.first_window, len(history.landings) - 1), label="last common day")
    common, later = history.landings[: number + 1], other.landings[number + 1 :]
    with deployment(history) as one, deployment(replace(history, landings=(*common, *later))) as two:
        one.run(history.windows)
        two.run(replace(history, landings=(*common, *later)).windows)
        last = history.days[number]
        assert one.published(last) == two.published(last)


@few
@example(TOUR)
@given(histories(5))
def test_detecting_all_days_first_and_walking_bucket_by_bucket_gives_the_bytes_of_daily_runs(history: History) -> None:
    with (
        deployment(history, buffer={"num_buckets": 2}) as daily,
        deployment(history, buffer={"num_buckets": 2}) as filled,
    ):
        daily.run(history.windows)
        context = filled.context
        with ProcessPool(filled.settings, context.now) as pool:
            for ds in history.windows:
                open_window(context, context.window(ds))
                prepare(context, pool, context.window(ds), StepTimes())
            list(refresh_days(pool, history.windows, [1, 0]))
        for ds in history.windows:
            publish(context, context.window(ds))
        assert filled.published() == daily.published()


@few
@example(TOUR, 4)
@given(histories(4), st.sampled_from([2, 4]))
def test_any_number_of_shards_publishes_the_same_bytes(history: History, num_shards: int) -> None:
    with (
        deployment(history, buffer={"num_buckets": 4}) as one,
        deployment(history, buffer={"num_buckets": 4, "num_shards": num_shards}) as many,
    ):
        plain, sharded = one.run(history.windows), many.run(history.windows)
        assert [report.modalities for report in plain] == [report.modalities for report in sharded]
        assert many.published() == one.published()


@few
@given(histories(4), st.integers(2, 3), st.integers(1, 2))
def test_buckets_batches_and_scenario_order_change_no_value(history: History, num_buckets: int, batch: int) -> None:
    changed: dict[str, Any] = {
        "buffer": {"num_buckets": num_buckets},
        "run": {"users_per_batch": batch},
        "scenarios": SCENARIOS[::-1],
    }
    with deployment(history) as one, deployment(history, **changed) as two:
        one.run(history.windows)
        two.run(history.windows)
        for ds in history.windows:
            mine, theirs = read_embeddings(one, ds), read_embeddings(two, ds)
            assert mine.keys() == theirs.keys()
            for key, vector in mine.items():
                np.testing.assert_allclose(theirs[key], vector, rtol=0, atol=TOLERANCE)
            texts = [{row["user_id"]: row for row in made.offline_rows(PROFILE_VIEW, ds)} for made in (one, two)]
            assert texts[0] == texts[1]
