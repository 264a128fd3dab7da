"""Leaving out: a case worked by hand, with a model that is a sum, and what a direction may be."""

import json

import numpy as np
import pyarrow as pa
import pytest

from updater.domain.declared.modality import Modality
from updater.errors import ConfigError
from updater.explanation.bars import DOWN, UP, bar_chart
from updater.explanation.direction import read_direction
from updater.explanation.explain import Effects
from updater.explanation.left_out import event_units, text_units
from updater.users.event_batches import UserEvents

A, B = [1.0, 0.0], [0.0, 1.0]


def events_of(name, rows, kind="stream"):
    """Events (id, text, vector, time) of one user, texts in the order of their names."""
    texts = sorted({text for _, text, _, _ in rows})
    vectors = [next(vector for _, said, vector, _ in rows if said == text) for text in texts]
    times = np.array([np.nan if time is None else time for *_, time in rows], np.float64)
    return UserEvents(
        modality=Modality(name=name, kind=kind, text="{word}", max_events=8),
        offsets_U1=np.array([0, len(rows)]),
        times_N=times,
        local_N=np.nan_to_num(times),
        text_rows_N=np.array([texts.index(text) for _, text, _, _ in rows], np.int64),
        texts_TV=np.array(vectors, np.float16).reshape(-1, 2),
        text_ids=[text.encode() for text in texts],
        values_NC=np.zeros((len(rows), 0)),
        said=pa.table({"event_id": [event for event, *_ in rows], "value": [text for _, text, *_ in rows]}),
    )


def embed(batch):
    """The sum of the events' text vectors, made as long as one."""
    sums = np.zeros((batch.num_users, 2))
    for part in batch.modalities:
        np.add.at(sums, part.owners_A, part.texts_TX[part.text_rows_A])
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


# Three times (1, 0) and four times (0, 1): the embedding is (0.6, 0.8).
EVENTS = [
    events_of("bill", [("b1", "bread", A, 10.0), ("b2", "bread", A, 20.0), ("b3", "rolls", A, 30.0)]),
    events_of(
        "search", [("s1", "milk", B, 5.0), ("s2", "milk", B, 40.0), ("s3", "milk", B, 41.0), ("s4", "tea", B, 42.0)]
    ),
]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_effects_are_those_worked_by_hand(batch_size):
    found = Effects(EVENTS, embed, batch_size, np.array([1.0, 0.0]), lambda *_: None)
    assert found.score == pytest.approx(0.6)
    # Without bill (0, 1) is left, whose score is 0; without search (1, 0), whose score is 1.
    assert [(one.modality, one.num_events) for one in found.modalities] == [("bill", 3), ("search", 4)]
    assert [one.effect for one in found.modalities] == pytest.approx([0.6, -0.4], abs=1e-6)
    assert [one.moved for one in found.modalities] == pytest.approx([0.2, 0.4], abs=1e-6)
    # Without bread (1, 4), without milk (3, 1), without rolls (2, 4), without tea (3, 3).
    expected = {"bread": 1 / 17**0.5, "milk": 3 / 10**0.5, "rolls": 2 / 20**0.5, "tea": 0.5**0.5}
    assert {one.text: 0.6 - one.effect for one in found.texts} == pytest.approx(expected, abs=1e-6)
    assert [one.text for one in found.texts] == sorted(expected, key=lambda text: -abs(0.6 - expected[text]))
    assert {one.event_id: one.text for one in found.events} == {
        **dict.fromkeys(("b1", "b2"), "bread"), "b3": "rolls", **dict.fromkeys(("s1", "s2", "s3"), "milk"), "s4": "tea"
    }  # fmt: skip
    for one in found.events:
        left = 2 / 20**0.5 if one.modality == "bill" else 3 / 18**0.5
        assert 0.6 - one.effect == pytest.approx(left, abs=1e-6)
        assert one.event_time.startswith("1970-01-01T00:00:")


def test_without_a_direction_an_effect_is_how_far_the_embedding_moves():
    found = Effects(EVENTS, embed, 8, None, lambda *_: None)
    assert found.score == pytest.approx(1.0)
    for one in [*found.modalities, *found.texts, *found.events]:
        assert one.effect == pytest.approx(one.moved, abs=1e-6)
        assert one.effect > 0


def test_what_leaves_out_the_same_is_computed_once():
    asked = []
    Effects(EVENTS, lambda batch: asked.append(batch.num_users) or embed(batch), 100, None, lambda *_: None)
    # Nothing; two modalities; bread and milk; seven events, of which rolls and tea are texts.
    assert asked == [1 + 2 + 2 + 7]


def test_the_newest_events_and_the_most_frequent_texts_come_first():
    snapshot = events_of("app", [("a1", "maps", A, None)], kind="snapshot")
    units = event_units([*EVENTS, snapshot])
    times = [EVENTS[unit.modality].times_N[unit.rows[0]] for unit in units if unit.modality < 2]
    assert times == sorted(times, reverse=True)
    assert units[-1].modality == 2
    assert [len(unit.rows) for unit in text_units(EVENTS)] == [3, 2, 1, 1]


def test_directions_of_files(tmp_path):
    npy, rows, text = tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.json"
    np.save(npy, np.array([1, 2, 3], np.float32))
    np.save(rows, np.array([[1.0, 2.0, 3.0]]))
    text.write_text(json.dumps([1, 2, 3]))
    for path in (npy, rows, text):
        np.testing.assert_array_equal(read_direction(str(path), 3), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "needs 3 numbers"),
        ("[[1, 2, 3], [4, 5, 6]]", "needs 3 numbers"),
        ('["a", "b", "c"]', "needs 3 numbers"),
        ("[0, 0, 0]", "points nowhere"),
        ("[1, 2, NaN]", "points nowhere"),
        ("[[1, 2], [3]]", "neither a NumPy array nor a JSON list"),
        ("1, 2, 3", "neither a NumPy array nor a JSON list"),
        (b"\x93NUMPY\x01\x00 and no more", "neither a NumPy array nor a JSON list"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_direction(tmp_path, content, said):
    path = tmp_path / "direction"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=said):
        read_direction(str(path), 3)


def test_an_array_of_objects_is_not_loaded(tmp_path):
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{}, {}, {}]), allow_pickle=True)
    with pytest.raises(ConfigError, match="neither a NumPy array"):
        read_direction(str(path), 3)


def test_bars_begin_at_the_line_and_are_as_long_as_their_numbers():
    chart = bar_chart([("a", 0.5), ("b", -0.25), ("c" * 100, 0.0)])
    up, down, none = chart.bars
    assert (up.x, up.color, up.said) == (chart.zero, UP, "+0.5000")
    assert down.x + down.width == pytest.approx(chart.zero, abs=0.02)
    assert (down.color, down.said) == (DOWN, "−0.2500")
    assert up.width == pytest.approx(2 * down.width, abs=0.02)
    assert (none.width, len(none.label)) == (0, 60)
    assert up.x + up.width < chart.width
    assert bar_chart([]).bars == ()
    # With nothing to the left of it the line is at the left, and labels are not written across it.
    chart = bar_chart([("a", 0.5)])
    assert chart.label_x > chart.zero
