"""Whatever the log: no generated claim contradicts it, and reflection catches every claim that was altered."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.profiles import MODALITIES, VOCABULARY, event, future, profile
from updater.training.useru.answers import Draft, LogGenerator
from updater.training.useru.facts.claims import Claim, claims_from_json, claims_to_json
from updater.training.useru.facts.future import count_cells, select_cells
from updater.training.useru.facts.topics import topic_pool
from updater.training.useru.reflection import Reflector

CATEGORIES = sorted(VOCABULARY)
POOL = topic_pool(MODALITIES, [("bill", name) for name in CATEGORIES])

hours = st.integers(0, 21)
amounts = st.none() | st.floats(-1e6, 1e6, allow_nan=False)
bills = st.builds(
    lambda ago, hour, category, amount: event("bill", ago, hour, category=category, amount=amount),
    st.integers(0, 89),
    hours,
    st.sampled_from(["", *CATEGORIES]),
    amounts,
)
views = st.builds(lambda ago, hour: event("page_view", ago, hour), st.integers(0, 89), hours)
cards = st.builds(lambda text: event("card", 300, is_state=True, text=text), st.sampled_from(["gold card", "red card"]))
profiles = st.builds(profile, st.lists(bills | views | cards, min_size=1, max_size=25), st.sampled_from("uvw"))


@given(profiles)
def test_no_generated_claim_contradicts_the_log(made):
    for draft in LogGenerator().drafts(made, POOL):
        assert all(claim.holds(made) for claim in draft.claims)
        answer = Reflector(made, VOCABULARY).reflect(draft)
        assert answer is not None and set(answer.claims) == set(draft.claims) and answer.num_repaired == 0
        assert claims_from_json(claims_to_json(answer.claims)) == answer.claims


@given(profiles, st.data())
def test_an_altered_claim_is_caught(made, data):
    drafts = LogGenerator().drafts(made, POOL)
    assume(drafts)
    draft = data.draw(st.sampled_from(drafts))
    claim = data.draw(st.sampled_from(draft.claims))
    if isinstance(claim.value, float):
        altered = claim.value + data.draw(st.sampled_from([-7.0, -1.0, -0.01, 0.01, 1.0, 12.0]))
    else:
        altered = data.draw(st.lists(st.sampled_from([*CATEGORIES, "night"]), min_size=1, max_size=3).map(tuple))
    assume(altered != claim.value)
    wrong = Claim(claim.measure, claim.scope, altered)
    assert not wrong.holds(made)
    answer = Reflector(made, VOCABULARY).reflect(Draft(draft.topic, draft.question, (wrong,)))
    assert answer is not None and answer.claims == (claim,) and answer.num_repaired == 1


@given(profiles, st.sampled_from(CATEGORIES), st.integers(0, 40))
def test_a_foreign_sentence_with_another_count_or_category_is_caught(made, category, offset):
    # Without amounts no sum can come to a thousand.
    made = replace(made, events=tuple(replace(each, numbers={}) for each in made.events))
    count = sum(each.category == category for each in made.events)
    sentence = f"There are {1_000 + offset} {category} bill events."
    assert Reflector(made, VOCABULARY).reflect(Draft("t", "What is there?", (), sentence)) is None
    kept = Reflector(made, VOCABULARY).reflect(Draft("t", "What is there?", (), f"The user buys {category}."))
    assert (kept is not None) == (count > 0)


@given(st.lists(bills | views, max_size=40))
def test_the_future_s_cells_are_its_counts(events):
    moved = [replace(each, time=each.time + timedelta(days=91)) for each in events]
    made = future(moved, days=91)
    cells = select_cells(made)
    assert all(cell.holds(made) for cell in cells)
    assert len(cells) == min(8, len(count_cells(made)))
    assert not any(replace(cell, count=cell.count + 1).holds(made) for cell in cells)
