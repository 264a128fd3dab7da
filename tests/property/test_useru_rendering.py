"""Whatever the log: a model that copies from the text of a profile says what the log bears out, and never the id."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.profiles import VOCABULARY, event, profile
from updater.training.useru.language_model.items import read, written
from updater.training.useru.language_model.rendering import profile_text
from updater.training.useru.reflection import Reflector

CATEGORY = re.compile(r'  category ("[^"]*"): (.*)')
hours, ages = st.integers(0, 21), st.integers(0, 89)
bills = st.builds(
    lambda ago, hour, category, amount: event("bill", ago, hour, category=category, text=category, amount=amount),
    ages,
    hours,
    st.sampled_from(["", *sorted(VOCABULARY)]),
    st.none() | st.floats(-1e6, 1e6, allow_nan=False),
)
views = st.builds(lambda ago, hour: event("page_view", ago, hour, text="shown to me-7"), ages, hours)
cards = st.builds(lambda: event("card", 300, is_state=True, text="card of ME-7"))
printable = st.text(st.characters(categories=["L", "N", "P", "S"]))
profiles = st.builds(profile, st.lists(bills | views | cards, min_size=1, max_size=25), st.just("me-7"))


@given(profiles)
def test_every_fact_of_the_text_stands_up_to_the_log(made):
    reflector = Reflector(made, VOCABULARY)
    about = ""
    for line in profile_text(made).splitlines():
        if "what is so now" in line or line.startswith("  newest events"):
            continue
        head, _, facts = line.rpartition(": ")
        if not line.startswith("  "):
            about = head.replace("all sources together", "")
        name = CATEGORY.fullmatch(line)
        assert reflector.supports(f"{name[1] if name else ''} {about} {facts}"), line


@given(profiles)
def test_the_id_is_not_in_the_text(made):
    text = profile_text(made)
    assert "me-7" not in text.casefold()
    assert ("bill" in text) == any(event.modality == "bill" for event in made.events)


@given(st.dictionaries(st.integers(0, 99), printable, min_size=1), st.text(), st.text())
def test_a_reply_in_form_is_read_whatever_stands_around_it(texts, before, after):
    lines = written({"number": number, "text": text} for number, text in texts.items()).splitlines()
    prose = str.maketrans("", "", "{}[]<>")
    reply = f'{before.translate(prose)}\n```json\n{{"items": [{",".join(lines)}]}}\n```{after.translate(prose)}'
    assert read(reply) == texts
