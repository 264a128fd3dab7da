"""Topics, measures and the generator that answers from the log."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.profiles import MODALITIES, SHOPPER, VOCABULARY, event, profile
from updater.settings import load_settings
from updater.training.useru.answers import LogGenerator
from updater.training.useru.facts.claims import Claim, claim, claims_from_json, claims_to_json
from updater.training.useru.facts.measures import MEASURES, Scope
from updater.training.useru.facts.topics import most_relevant, topic_pool
from updater.training.useru.reflection import Reflector

CONFIGS = Path(__file__).parents[2] / "configs"
BILL = Scope(modality="bill")
AMOUNT = replace(BILL, column="amount")
RECENT, BEFORE = replace(BILL, days=28), replace(BILL, days=28, skip=28)


@pytest.mark.parametrize("name", ["demo", "local", "production"])
def test_the_shipped_configs_have_pools_of_at_least_forty_topics(name):
    modalities = load_settings(CONFIGS / f"{name}.toml", environ={}).modalities
    pool = topic_pool(modalities)
    assert len(pool) >= 40
    assert len({topic.name for topic in pool}) == len({topic.question for topic in pool}) == len(pool)
    assert {topic.scope.modality for topic in pool} == {"", *(modality.name for modality in modalities)}
    assert all(measure in MEASURES for topic in pool for measure, _ in topic.parts)
    wider = topic_pool(modalities, [("item", "dairy")])
    assert {topic.name for topic in wider} - {topic.name for topic in pool} == {
        "item.dairy.share",
        "item.dairy.interest",
    }


def test_ten_topics_that_the_profile_speaks_of():
    pool = topic_pool(MODALITIES, [("bill", name) for name in VOCABULARY])
    chosen = most_relevant(pool, SHOPPER)
    assert len({topic.name for topic in chosen}) == 10
    assert chosen == most_relevant(tuple(reversed(pool)), SHOPPER)
    assert {topic.scope.category for topic in chosen} <= {"", "dairy", "wine", "2% milk"}
    assert len({topic.aspect for topic in chosen}) >= 8
    assert [topic.name for topic in most_relevant(pool, replace(SHOPPER, user_id="v"))] != [t.name for t in chosen]
    assert most_relevant(pool, profile([])) == []


@pytest.mark.parametrize(
    ("measure", "scope", "value"),
    [
        ("num_events", BILL, 5.0),
        ("num_events", Scope(), 6.0),
        ("num_events", Scope(modality="card"), 1.0),
        ("num_events", RECENT, 3.0),
        ("num_events", BEFORE, 0.0),
        ("num_events", replace(BILL, category="dairy"), 3.0),
        ("active_days", BILL, 4.0),
        ("days_since_last", BILL, 3.0),
        ("days_since_last", Scope(modality="absent"), None),
        ("longest_gap", BILL, 39.0),
        ("longest_gap", Scope(modality="page_view"), None),
        ("num_categories", BILL, 3.0),
        ("weekend_share", BILL, 40.0),
        ("top_share", BILL, 60.0),
        ("category_share", replace(RECENT, category="dairy"), 67.0),
        ("total", AMOUNT, 64.0),
        ("mean", AMOUNT, 12.8),
        ("largest", replace(AMOUNT, days=28), 12.5),
        ("mean", Scope(modality="page_view", column="amount"), None),
        ("top_categories", BILL, ("dairy", "2% milk", "wine")),
        ("contents", Scope(modality="card"), ("gold card since 1999",)),
        ("part_of_day", RECENT, ("evening",)),
        ("busiest_weekday", BILL, ("Saturday",)),
        ("new_categories", BILL, ("2% milk",)),
        ("lapsed_categories", BILL, ("wine",)),
        ("main_source", Scope(), ("bill",)),
        ("num_sources", Scope(), 2.0),
    ],
)
def test_measures(measure, scope, value):
    found = claim(SHOPPER, measure, scope)
    assert (found and found.value) == value
    assert found is None or found.holds(SHOPPER)


def test_claims_in_words():
    page_views = Claim("num_events", Scope(modality="page_view", days=28, skip=28), 1.0)
    assert page_views.text(SHOPPER) == "The log holds 1 page view event in the 28 days before the last 28 days."
    assert claim(SHOPPER, "mean", AMOUNT).text(SHOPPER) == (
        "The amount of a bill event in the last 90 days is 12.80 on average."
    )
    assert claim(SHOPPER, "category_share", replace(BILL, category="dairy")).text(SHOPPER) == (
        "Of all events of that source in the last 90 days, 60 % are dairy bill events."
    )


def test_claims_survive_json():
    claims = tuple(claim(SHOPPER, measure, BILL) for measure in ("num_events", "top_categories", "longest_gap"))
    assert claims_from_json(claims_to_json(claims)) == claims


def test_the_log_s_own_answers_pass_reflection_unchanged():
    pool = topic_pool(MODALITIES, [("bill", name) for name in VOCABULARY])
    drafts = LogGenerator().drafts(SHOPPER, pool)
    assert len(drafts) == 10 and drafts == LogGenerator().drafts(SHOPPER, pool)
    for draft in drafts:
        answer = Reflector(SHOPPER, VOCABULARY).reflect(draft)
        assert answer.claims == draft.claims and (answer.num_repaired, answer.num_dropped) == (0, 0)
        # Read as a stranger's, without the claims behind it, the text stands as well.
        foreign = Reflector(SHOPPER, VOCABULARY).reflect(replace(draft, claims=(), free_text=answer.answer))
        assert foreign is not None and foreign.answer == answer.answer


def test_a_topic_without_events_is_not_answered():
    pool = topic_pool(MODALITIES)
    assert LogGenerator().drafts(profile([]), pool) == []
    [draft] = LogGenerator().drafts(
        profile([event("page_view")]), [topic for topic in pool if topic.name == "page_view.gaps"]
    )
    assert [each.measure for each in draft.claims] == ["active_days"]


def test_nothing_is_said_of_days_before_the_profile():
    short = replace(SHOPPER, start=SHOPPER.end - timedelta(days=30), events=SHOPPER.events[2:])
    assert short.num_days == 30
    assert claim(short, "num_events", RECENT).value == 3.0
    assert claim(short, "num_events", BEFORE) is None
    assert claim(short, "new_categories", BILL) is None
    assert not Claim("num_events", BEFORE, 0.0).holds(short)
    assert not [topic for topic in most_relevant(topic_pool(MODALITIES), short, 99) if "trend" in topic.aspect]
