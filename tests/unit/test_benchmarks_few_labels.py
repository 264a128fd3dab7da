"""Rows of a task as the tuner takes them."""

from datetime import date

import numpy as np
import pyarrow as pa

from benchmarks.quality.few_labels import _compared, draw, labels_of, probed
from tests.training_data import ANCHORS, make_profiles
from updater.evaluation.scoring import PENALTIES, PENALTIES_BY_PART, TaskRows
from updater.training.tuning.labelled_users import Labels

USERS = ["u1", "u2", "u3"]
PROFILES = {anchor: make_profiles(anchor, USERS) for anchor in ANCHORS}


def rows_of(users: list[str], anchors: list[date], labels: list[bool]) -> TaskRows:
    table = pa.table({"user_id": users, "anchor": anchors, "label": labels})
    part = np.array([True] * (len(users) - 1) + [False])
    return TaskRows(table, np.array(users), np.array(labels), part, ~part, ~part)


def test_rows_find_their_place_in_the_profiles_of_their_anchor() -> None:
    first, second = ANCHORS[:2]
    rows = rows_of(["u3", "nobody", "u1", "u2"], [first, first, second, second], [True, True, False, True])
    found = labels_of(rows, rows.train, PROFILES, "asked?")
    assert (list(found.anchors), found.rows.tolist(), found.classes.tolist()) == ([first, second], [2, 0], [1, 0])
    assert list(found.questions) == ["asked?"] * 2


def test_more_labels_are_a_superset_of_fewer() -> None:
    users = [USERS[number % 3] for number in range(31)]
    rows = rows_of(users, [ANCHORS[0]] * 31, [number % 2 == 0 for number in range(31)])
    every = labels_of(rows, rows.train, PROFILES, "asked?")
    few, more = draw(every, 5, seed=3), draw(every, 12, seed=3)
    assert len(few.rows) == 5 and len(more.rows) == 12
    np.testing.assert_array_equal(more.rows[:5], few.rows)
    assert not np.array_equal(draw(every, 12, seed=4).rows, more.rows)


def test_each_way_is_compared_with_the_plain_question_at_its_own_best_penalty() -> None:
    plain = [np.array([0.6, 0.7, 0.5]), np.array([0.6, 0.8, 0.5])]
    better = [np.array([0.8, 0.5, 0.5]), np.array([0.9, 0.6, 0.5])]
    made = _compared({"base": plain, "tuned": plain, "with_answer": better})
    assert (made["base"], made["tuned"], made["with_answer"]) == (0.75, 0.75, 0.85)
    assert made["tuned-base"] == [0.0, 0.0]
    assert made["with_answer-base"] == [0.1, 0.0]
    chosen = made["inverse_penalties"]
    assert (chosen["base"], chosen["with_answer"]) == (PENALTIES[1].inverse, PENALTIES_BY_PART[0].inverse)


def test_a_number_beside_the_embedding_is_read_as_a_part_of_its_own() -> None:
    rng = np.random.default_rng(2)
    telling = rng.normal(size=400)
    classes = (telling + rng.normal(size=400) > 0).astype(np.int64)
    whole = Labels([ANCHORS[0]] * 400, np.arange(400), ["asked?"] * 400, classes)
    learned, tested = whole.take(np.arange(100)), whole.take(np.arange(100, 400))
    noise = rng.normal(size=(400, 64))
    alone = probed(learned, [noise[:100]], tested, [noise[100:]], PENALTIES)
    parts = [(noise[rows], telling[rows, None]) for rows in (slice(100), slice(100, None))]
    beside = probed(learned, parts[0], tested, parts[1], PENALTIES_BY_PART)
    assert (len(alone), len(beside)) == (len(PENALTIES), len(PENALTIES_BY_PART))
    assert beside.max() > alone.max() + 0.1
