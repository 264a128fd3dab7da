"""Dense answers against plain Python over the rows: what counts, when, and what no label may look at."""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from updater.domain.buckets import bucket_of
from updater.domain.declared.modality import Modality
from updater.labels.tasks import question as question_of
from updater.labels.tasks import read_tasks
from updater.lake.landing import text_id
from updater.lake.partitions import write_table
from updater.lake.schemas import event_schema
from updater.settings import load_settings
from updater.state.event_store import EventFile, connect
from updater.training.dense.labels.outcomes import OutcomeReader, Outcomes
from updater.training.dense.labels.questions import Question, make_questions
from updater.training.dense.labels.text_columns import parse_column
from updater.training.dense.labels.values import common_values

ROOT = Path(__file__).parents[2]
START, DAYS = date(2024, 3, 20), 30
"""The clocks of Berlin change on 31 March."""
ANCHOR, FUTURE, BUFFER = START + timedelta(days=14), 8, 10
ZONE = ZoneInfo("Europe/Berlin")
SHOP = {
    "name": "bill",
    "text": "{shop} | {category} | {brand}",
    "numeric": ["amount"],
    "category": "category",
}
USERS = [f"u{number}" for number in range(12)]

Row = dict[str, Any]


def row(
    user: str, event_id: str, time: datetime, category: str = "milk", amount: float | None = 1.0, **more: Any
) -> Row:
    text = f"{more.pop('shop', 'corner')} | {category} | {more.pop('brand', 'own')}"
    return {
        "user_id": user,
        "bucket": bucket_of(user, 1),
        "event_id": event_id,
        "event_time": time,
        "deleted": False,
        "text": text,
        "text_id": text_id(text),
        "category": category,
        "numeric_0": amount,
        **more,
    }


def local(day: date, hour: float = 12.0) -> datetime:
    """The UTC instant, without a zone, of an hour of a local day."""
    return (datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC) + timedelta(hours=hour)).replace(
        tzinfo=None
    )


@pytest.fixture
def settings(make_settings):
    return make_settings(
        buffer={"days": BUFFER, "num_buckets": 1},
        timezone="Europe/Berlin",
        modalities=[SHOP],
        training={"future_days": FUTURE},
    )


def land(root: Path, settings: Any, days: Mapping[date, Sequence[Row]]) -> dict[str, list[EventFile]]:
    files = []
    for ds, rows in days.items():
        path = str(root / f"{ds}.parquet")
        table = pa.Table.from_pylist([{**each, "ds": ds} for each in rows], event_schema(settings.modality("bill")))
        write_table(path, table)
        files.append(EventFile(ds, path))
    return {"bill": files}


def read(files: dict[str, list[EventFile]], settings: Any, asked: Sequence[Question]) -> Outcomes:
    with connect() as connection:
        return OutcomeReader(connection, settings, files).read(ANCHOR, USERS, asked, FUTURE)


VALUES = {
    ("bill", "category"): ["milk", "tea", "bread", "rare"],
    ("bill", "shop"): ["corner", "market"],
    ("bill", "brand"): ["own"],
}


def questions(settings: Any) -> list[Question]:
    return make_questions(settings.modalities, VALUES, (), FUTURE)


def history(seed: int) -> dict[date, list[Row]]:
    """Events that land late, are corrected, moved and deleted."""
    rng = random.Random(seed)
    days: dict[date, list[Row]] = {START + timedelta(days=n): [] for n in range(DAYS)}
    for number in range(400):
        user = rng.choice(USERS[:-1])
        happened = START + timedelta(days=rng.randrange(DAYS))
        landed = happened + timedelta(days=rng.choice((0, 0, 0, 1, 5)))
        made = {
            "category": rng.choice(("milk", "tea", "bread", "rare", "")),
            "amount": rng.choice((None, 0.5, 2.0, 8.0, -4.0)),
            "shop": rng.choice(("corner", "market")),
            "brand": rng.choice(("own", "other")),
        }
        hour = rng.choice((0.0, 3.5, 12.0, 22.9))
        if landed in days:
            days[landed].append(row(user, str(number), local(happened, hour), **made))
        again = landed + timedelta(days=rng.choice((1, 6)))
        if again in days and rng.random() < 0.2:
            moved = happened + timedelta(days=rng.choice((0, 0, 0, 9)))
            deleted = rng.random() < 0.5
            days[again].append(row(user, str(number), local(moved, hour), **made, deleted=deleted))
    return days


def oracle_held(days: Mapping[date, Sequence[Row]], first: date, last: date, known: date) -> list[tuple[date, Row]]:
    """Versions that had landed by `known`, the newest of each event, with local days from `first` to `last`."""
    newest: dict[tuple[str, str], Row] = {}
    for ds in sorted(days):
        # What landed before its days began is not looked at: no event lands before it happens.
        if first <= ds <= known:
            newest |= {(each["user_id"], each["event_id"]): each for each in days[ds]}
    held = []
    for each in newest.values():
        day = each["event_time"].replace(tzinfo=UTC).astimezone(ZONE).date()
        if not each["deleted"] and first <= day <= last:
            held.append((day, each))
    return held


def said(each: Row, column: str) -> str:
    shop, category, brand = each["text"].split(" | ")
    return {"shop": shop, "category": category, "brand": brand}[column]


def oracle_measure(question: Question, before: list[tuple[date, Row]], after: list[tuple[date, Row]]) -> float:
    held = [(day, each) for day, each in after if (day - ANCHOR).days <= question.days]

    def total(rows: list[tuple[date, Row]]) -> float:
        if question.column == "number":
            return float(len(rows))
        return math.fsum(each["numeric_0"] or 0.0 for _, each in rows)

    kinds = {each["category"] for _, each in held} - {""}
    match question.measure:
        case "events":
            return len(held)
        case "days":
            return len({day for day, _ in held})
        case "kinds":
            return len(kinds)
        case "new_kinds":
            return len(kinds - {each["category"] for _, each in before})
        case "total":
            return total(held)
        case "change":
            earlier = total(before) * question.days / BUFFER
            return math.log1p(max(total(held), 0.0)) - math.log1p(max(earlier, 0.0))
        case "share":
            hits = sum(said(each, question.column) == question.value for _, each in held)
            return hits / len(held) if held else math.nan
    raise AssertionError(question)


def oracle_bits(question: Question, after: list[tuple[date, Row]]) -> int:
    days = {(day - ANCHOR).days for day, each in after if said(each, question.column) == question.value}
    first = min(days, default=99)
    answers = (len(days) >= 1, len(days) >= 2, len(days) >= 4, first <= FUTURE / 4, first <= FUTURE / 2)
    return sum(answer << k for k, answer in enumerate(answers))


@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_plain_python(tmp_path, settings, seed):
    days, asked = history(seed), questions(settings)
    found = read(land(tmp_path / "events", settings, days), settings, asked)
    begin, end = ANCHOR - timedelta(days=BUFFER - 1), ANCHOR + timedelta(days=FUTURE)
    before = oracle_held(days, begin, ANCHOR, ANCHOR)
    before_and_beyond = oracle_held(days, begin, date.max, ANCHOR)
    after = oracle_held(days, ANCHOR + timedelta(days=1), end, end)
    counted = [question for question in asked if question.is_counted]
    assert counted and {question.measure for question in asked} >= {
        "share",
        "change",
        "new_kinds",
        "total",
        "kinds",
        "days",
    }
    seen = set[int]()
    for u, user in enumerate(USERS):
        was, then = ([pair for pair in held if pair[1]["user_id"] == user] for held in (before, after))
        had = {each["event_id"] for _, each in before_and_beyond if each["user_id"] == user}
        assert found.known_U[u] == (not had & {each["event_id"] for _, each in then}), user
        for c, question in enumerate(counted):
            assert found.answers_UC[u, c] == oracle_bits(question, then), (user, question)
            seen.add(oracle_bits(question, then))
        for a, question in enumerate(asked[len(counted) :]):
            expected = oracle_measure(question, was, then)
            np.testing.assert_allclose(found.measures_UA[u, a], expected, rtol=1e-6, err_msg=f"{user} {question}")
    assert len(seen) > 5


def test_nothing_at_or_before_the_anchor_and_nothing_that_lands_after_the_future_counts(tmp_path, settings):
    asked, end = questions(settings), ANCHOR + timedelta(days=FUTURE)
    last_moment, first_moment = local(ANCHOR, 23.99), local(ANCHOR + timedelta(days=1), 0.0)
    base = {ANCHOR: [row("u0", "past", last_moment)], end: [row("u1", "next", first_moment)]}
    late = {
        end: [*base[end], row("u0", "was then, lands now", last_moment), row("u0", "old", local(START))],
        end + timedelta(days=1): [
            row("u0", "lands too late", local(end)),
            row("u2", "x", local(end + timedelta(days=1))),
        ],
    }
    plain = read(land(tmp_path / "a", settings, base), settings, asked)
    more = read(land(tmp_path / "b", settings, base | late), settings, asked)
    np.testing.assert_array_equal(more.answers_UC, plain.answers_UC)
    np.testing.assert_array_equal(more.measures_UA, plain.measures_UA)
    milk = [question.value for question in asked].index("milk")
    assert plain.answers_UC[:3, milk].tolist() == [0, 0b11001, 0]
    assert plain.known_U.all()


def test_an_event_of_the_past_that_moves_into_the_future_gives_its_user_away(tmp_path, settings):
    moved = {
        ANCHOR: [row("u0", "a", local(ANCHOR))],
        ANCHOR + timedelta(days=2): [row("u0", "a", local(ANCHOR + timedelta(days=1)))],
    }
    found = read(land(tmp_path / "events", settings, moved), settings, questions(settings))
    assert not found.known_U[0] and found.known_U[1:].all()


def test_a_template_is_read_backwards_where_it_can_be_read_in_one_way():
    modality = Modality(name="bill", text="{shop} | {category}: {amount:.0f} {category}", category="category")
    texts = ["a | b: 3 b", "a | b | b: 3 b | b", " | b: 3 b", "nothing", "a: b | c: 12 c"]
    assert parse_column(modality, "shop", texts) == ["a", "a", None, None, "a: b"]
    assert parse_column(modality, "category", texts) == ["b", "b | b", "b", None, "c"]
    two_ways = Modality(name="bill", text="{shop} {brand}")
    assert parse_column(two_ways, "shop", ["a b", "a b c"]) == ["a", None]


def test_common_values_are_those_that_had_landed_and_coarser_than_the_category(tmp_path, settings):
    rows = [
        row("u0", f"{n}", local(START), category, shop=shop)
        for n, (category, shop) in enumerate(product(("milk", "tea", "tea", ""), ("market", "corner")))
    ]
    later = [row("u1", "z", local(START), "later", brand="new")]
    files = land(tmp_path / "events", settings, {START: rows, START + timedelta(days=1): later})
    with connect() as connection:
        found = common_values(connection, settings, files, START)
        assert found == {("bill", "category"): ["tea", "milk"], ("bill", "brand"): ["own"]}
        # With three categories, two shops are coarser.
        found = common_values(connection, settings, files, START + timedelta(days=1))
        assert found[("bill", "shop")] == ["corner", "market"] and found[("bill", "brand")] == ["own", "new"]


def test_never_asked_is_left_out_of_every_column_and_words_are_asked_once(settings):
    values = {("bill", "category"): ["milk", "tea"], ("bill", "brand"): ["tea", "milk", "own"]}
    asked = make_questions(settings.modalities, values, {"tea"}, 28)
    texts = [question.text for question in asked]
    assert len(set(texts)) == len(texts) and not any("tea" in text for text in texts)
    assert texts[:2] == ["milk bill events in the next 28 days?", "own bill events in the next 28 days?"]
    assert asked[0].column == "category"
    counted = [question.is_counted for question in asked]
    assert counted == sorted(counted, reverse=True)
    assert (
        "Share of own bill events in the next 28 days?" in texts
        and "amount of bill events in the next 28 days?" in texts
    )
    assert (
        "bill events in the next 7 days?" in texts and "Change of number of bill events in the next 28 days?" in texts
    )


@pytest.mark.parametrize("name", ["demo", "local", "paper", "production", "quality"])
def test_every_config_has_questions(name):
    """Of six modalities as of two, with categories and without, whatever their names."""
    modalities = load_settings(ROOT / "configs" / f"{name}.toml", environ={}).modalities
    values = {(m.name, m.category): ["one", "two"] for m in modalities if m.kind == "stream" and m.category}
    asked = make_questions(modalities, values, (), 28)
    texts = [question.text for question in asked]
    assert len(set(texts)) == len(texts) and not any("{" in text or "_" in text for text in texts)
    assert sum(question.is_counted for question in asked) == 2 * len(values)
    assert {question.modality for question in asked} == {m.name for m in modalities if m.kind == "stream"}


def test_label_tasks_are_asked_in_words_that_training_uses():
    settings = load_settings(ROOT / "configs" / "quality.toml", environ={})
    tasks = read_tasks(settings.evaluation.tasks)
    named = {column: [] for column in (("item", "category"), ("item", "department"), ("item", "brand"))}
    named["item", "brand"].append("Private")
    for task in tasks:
        parameters = task.rule
        if getattr(parameters, "value", "") and (parameters.modality, parameters.column) in named:
            named[parameters.modality, parameters.column].append(parameters.value)
    asked = {question.text for question in make_questions(settings.modalities, named, (), 28)}
    assert {question_of(settings, task).query for task in tasks} <= asked
