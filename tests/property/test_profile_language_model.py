"""Whatever a language model replies: what is accepted says nothing that the log does not have."""

import json
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import clean, num_tokens
from updater.profile.language_model.check import Candidate, check, limits_of
from updater.profile.language_model.known import KnownFacet
from updater.profile.language_model.reply import read_reply
from updater.profile.language_model.vocabulary import NO_LONGER, WORDS

NOUNS = {"item": "buys", "search": "asks for"}
LIMITS = limits_of(ProfileChoice(wording=NOUNS, budget_tokens=60), [*NOUNS], ["search"])
PERMITTED = (WORDS - {NO_LONGER}) | {"no", "longer", "buys"}
TEA = [KnownFacet("item.0", "item", "buys", "tea", 3, 0, 20, 20, 3, False, True)]

values = st.text(max_size=60).map(clean).filter(bool)
keys = st.sampled_from(["clauses", "text", "facets"])
nested = st.recursive(st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(keys, part))


@st.composite
def users(draw: st.DrawFn) -> list[KnownFacet]:
    names = draw(st.lists(values, min_size=1, max_size=4, unique=True))
    flags = st.sampled_from([(False, True), (True, False), (False, False)])
    return [
        KnownFacet(f"item.{n}", "item", "buys", value, 3, 0, 20, 20, 3, *draw(flags)) for n, value in enumerate(names)
    ]


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[KnownFacet], str]:
    """Nearly right answers: permitted words, foreign words, the user's values with and without quotes, any ids."""
    known = draw(users())
    words = st.sampled_from([*sorted(WORDS), "buys", "asks", "no longer", "wire", "money", ",", ";"]) | st.text(
        max_size=8
    )
    own = st.sampled_from([facet.value for facet in known])
    pieces = st.lists(words | own.map('"{}"'.format) | own | values.map('"{}"'.format), max_size=6).map(" ".join)
    ids = st.lists(st.sampled_from([*(facet.id for facet in known), "item.99", "search.1"]), max_size=3)
    right = st.sampled_from(known).map(lambda facet: {"text": f'buys "{facet.value}"', "facets": [facet.id]})
    clause: Any = st.fixed_dictionaries({"text": pieces, "facets": ids}) | right
    return known, json.dumps({"clauses": draw(st.lists(clause, max_size=4))})


@given(replies())
@example((TEA, json.dumps({"clauses": [{"text": 'buys "tea"', "facets": ["item.0"]}]})))
def test_an_accepted_text_is_permitted_words_and_quoted_values_of_the_log(case: tuple[list[KnownFacet], str]) -> None:
    known, reply = case
    made = check(read_reply(reply), known, LIMITS)
    if not isinstance(made, Candidate):
        return
    outside, inside = made.text.split('"')[::2], made.text.split('"')[1::2]
    assert {*inside} == {facet.value for facet in made.facets} <= {facet.value for facet in known}
    assert {word for part in outside for word in re.sub(r"[,;:.]", " ", part).lower().split()} <= PERMITTED
    assert num_tokens(made.text) <= LIMITS.budget_tokens
    assert "".join(outside).isascii() and "\n" not in made.text


@given(st.text() | nested.map(json.dumps))
def test_any_reply_is_read_or_refused(reply: str) -> None:
    clauses = read_reply(reply)
    assert clauses is None or all(isinstance(one.text, str) for one in clauses)
