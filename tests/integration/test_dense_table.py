"""From a lake to the table of answers: which days, which users, and what never is read."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from tests.dags.test_train_model import SCENARIOS, TRAINING
from tests.evaluation_lake import write_evaluation
from updater.domain.buckets import is_held_out, is_sampled, is_validation
from updater.errors import ConfigError
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import Context, no_progress, open_context, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.training.build import build_data, plan_build
from updater.training.dense.labels import table as dense_table
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.train import digest, read_answers

DAYS = {"first_anchor": "2024-03-01", "until": "2024-03-10", "valid_from": "2024-03-07"}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    config = write_evaluation(tmp_path_factory.mktemp("table"), training={**TRAINING, **DAYS}, scenarios=SCENARIOS)
    settings = load_settings(config, environ={})
    create_ledger(settings)
    made = open_writable(settings)
    with ProcessPool(settings, made.now) as pool:
        assert build_data(made, pool) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_table, "LEAST_BUYERS", 1)
        yield made


def read(context: Context, **training: Any) -> DenseTable:
    settings = replace(context.settings, training=replace(context.settings.training, **training))
    return read_answers(open_context(settings, context.now), no_progress)


@pytest.fixture(scope="module")
def table(context: Context) -> DenseTable:
    return read(context)


def test_futures_of_training_end_by_the_first_day_of_validation(context: Context, table: DenseTable) -> None:
    assert sorted({anchor for anchor, _ in table.train}) == [date(2024, 3, 1), date(2024, 3, 3)]
    assert {anchor for anchor, _ in table.valid} == {date(2024, 3, 7)}
    plan, days = plan_build(context.settings), context.settings.training.future_days
    assert max(plan.trained(days)) + timedelta(days=days) <= date(2024, 3, 7)


def test_without_a_validation_anchor_other_users_validate(context: Context) -> None:
    # Without all of its future, a day does not validate.
    for changed in ({"until": date(2024, 3, 9)}, {"test_from": date(2024, 3, 9)}, {"valid_from": None}):
        found = read(context, **changed)
        last = max(anchor for anchor, _ in found.train)
        everybody = found.profiles[last].users
        assert {(last, row) for row, user in enumerate(everybody.tolist()) if is_validation(user)} >= {*found.valid}
        assert found.valid and not any(is_held_out(str(everybody[row])) for _, row in found.valid)
        assert not any(is_validation(str(found.profiles[anchor].users[row])) for anchor, row in found.train)


def test_held_out_users_are_neither_trained_on_nor_validated_by(table: DenseTable) -> None:
    for keys in (table.train, table.valid):
        users = {str(table.profiles[anchor].users[row]) for anchor, row in keys}
        assert users and not any(map(is_held_out, users))
    everybody = set(table.profiles[date(2024, 3, 1)].users.tolist())
    assert any(map(is_held_out, everybody))


def test_questions_follow_from_the_lake(context: Context, table: DenseTable) -> None:
    texts = [question.text for question in table.questions]
    assert "dairy bill events in the next 3 days?" in texts[: table.num_counted]
    assert "amount of bill events in the next 3 days?" in texts[table.num_counted :]
    never = read(context, never_asked=("bill:dairy",))
    assert not any("dairy" in question.text for question in never.questions)
    assert len(never.questions) < len(texts) and digest(never) != digest(table)


def test_a_share_of_the_users_is_trained_on(context: Context, table: DenseTable) -> None:
    some = read(context, users_share=0.4)
    wanted = [(a, row) for a, row in table.train if is_sampled(str(table.profiles[a].users[row]), 0.4)]
    assert list(some.train) == wanted and 0 < len(wanted) < len(table.train)
    with pytest.raises(ConfigError, match="No profile is left"):
        read(context, users_share=1e-6)


def test_the_same_lake_gives_the_same_answers(context: Context, table: DenseTable) -> None:
    again = read(context)
    assert digest(again) == digest(table)
    np.testing.assert_array_equal(again.priors_QK, table.priors_QK)
    assert np.isfinite(table.priors_QK).all()
