"""Which labels were known at an instant, in a small lake."""

from datetime import timedelta

import pyarrow as pa
import pytest
from click.testing import CliRunner

from tests.evaluation_lake import TRAIN, events_of, write_evaluation
from updater.cli import main
from updater.labels.known import known_at, read_labels
from updater.labels.tables import label_tables
from updater.labels.tasks import read_tasks
from updater.settings import load_settings
from updater.store.scratch import Scratch


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = write_evaluation(tmp_path_factory.mktemp("labels"))
    assert CliRunner().invoke(main, ["init", "--config", str(config)]).exit_code == 0
    return config


def test_labels_that_are_not_known_yet_are_not_there(config):
    settings = load_settings(config, environ={})
    [task] = [task for task in read_tasks(settings.evaluation.tasks) if task.name == "buys"]
    first, second = TRAIN

    def anchors(until):
        with events_of(settings) as events:
            return set(read_labels(events, [task], TRAIN, until)["buys"]["anchor"].to_pylist())

    assert anchors(known_at(settings, task, second)) == {first, second}
    assert anchors(known_at(settings, task, first)) == {first}
    assert anchors(known_at(settings, task, first) - timedelta(microseconds=1)) == set()


def test_known_labels_are_those_that_a_historical_join_finds(config):
    settings = load_settings(config, environ={})
    tasks = [task for task in read_tasks(settings.evaluation.tasks) if task.name in ("buys", "will_buy_rice")]
    first, _ = TRAIN
    until = known_at(settings, tasks[0], first)
    with events_of(settings) as events:
        everything = label_tables(events, tasks, TRAIN)
        known = read_labels(events, tasks, TRAIN, until)

    keys = ("user_id", "anchor_day")
    instant = pa.timestamp("us", "UTC")
    for task in tasks:
        rows = everything[task.name].to_pylist()
        users = pa.table(
            {"user_id": [row["user_id"] for row in rows], "anchor_day": [str(row["anchor"]) for row in rows]}
        )
        known_since = pa.array([known_at(settings, task, row["anchor"]) for row in rows], instant)
        published = users.append_column("event_timestamp", known_since)
        asked = users.append_column("event_timestamp", pa.array([until] * len(rows), instant))
        with Scratch(settings) as scratch:
            scratch.publish("labels", published.append_column("label", everything[task.name]["label"]), keys)
            joined = scratch.point_in_time(asked, ["labels:label"])["label"].to_pylist()
        assert {answer is None for answer in joined} == {True, False}
        assert known[task.name].to_pylist() == [
            row for row, answer in zip(rows, joined, strict=True) if answer is not None
        ]
