"""Training texts: which candidates survive, and what is merged of them; and which days a training reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pytest

from updater.domain.declared.profile import ProfileChoice
from updater.domain.declared.profile_training import ProfileTraining
from updater.errors import NotLandedError
from updater.profile.clean import num_tokens
from updater.profile.language_model.check import Limits, Rejection, limits_of
from updater.profile.language_model.known import KnownFacet
from updater.profile.language_model.prompt import Question
from updater.training.profile.history.stages import Stages, plan_stages
from updater.training.profile.reading import judge
from updater.training.profile.reward import NextEvent
from updater.training.profile.texts.make import Statement, make_text, merge, model_candidate, variants, written

CHOICE = ProfileChoice(wording={"item": "buys"})


def facet(value: str, *, is_over: bool = False, weight: int = 30) -> KnownFacet:
    return KnownFacet(f"item.{value}", "item", "buys", value, 5, 4, weight, weight, 2, is_over, not is_over)


@dataclass(frozen=True)
class Asked:
    """The parts of an update that texts are made by."""

    question: Question
    events: Sequence[NextEvent]


def asked(*events: tuple[str, str], over: str = "wine") -> Asked:
    told = (facet("tea"), facet("milk"), facet("beer", weight=10), facet(over, is_over=True))
    return Asked(Question("", told, 120), tuple(NextEvent("item", *pair) for pair in events))


def say(kind: str, value: str) -> Statement:
    return Statement(f"buys: {kind}", (f"item.{value}",), value)


def limits(budget_tokens: int = 120) -> Limits:
    return replace(limits_of(CHOICE, ["item"], []), budget_tokens=budget_tokens)


TEA, MILK, BEER = (say("long-term", value) for value in ("tea", "milk", "beer"))


def test_the_first_candidate_that_is_right_about_a_target_survives_and_survivors_are_merged() -> None:
    update = asked(("tea", "beer"), ("milk", "beer"))
    # The first is right about tea only, the second about both; what it says of tea has been said.
    made = make_text(update, [(TEA,), (TEA, MILK), (MILK, BEER)], limits())
    assert made is not None
    assert (made.targets, made.right) == (2, 2)
    assert made.candidate.text == 'Buys: long-term "tea", "milk".'
    assert json.loads(made.reply) == {
        "clauses": [{"text": 'buys: long-term "tea", "milk"', "facets": ["item.tea", "item.milk"]}]
    }


def test_a_candidate_that_the_log_does_not_bear_out_is_not_learned_from() -> None:
    update = asked(("tea", "beer"))
    for wrong in (
        Statement("buys: long-term", ("item.tea",), "gin"),  # quotes another value
        Statement("buys: long-term", ("item.gin",), "gin"),  # no such facet
        Statement('buys: long-term "tea", and 5 more', ("item.tea",)),  # no permitted word
        say("no longer", "tea"),  # goes on
    ):
        assert make_text(update, [(wrong,)], limits()) is None
        assert isinstance(judge(written((wrong,)), update, limits()).rejection, Rejection)
        assert make_text(update, [(wrong,), (TEA,)], limits()) is not None


def test_what_a_language_model_said_is_a_candidate_like_any_other() -> None:
    update = asked(("tea", "beer"))
    [said] = model_candidate(
        'Sure: {"clauses": [{"text": "Mostly \\"tea\\", then \\"beer\\"", "facets": ["item.tea", "item.beer"]}]}'
    )
    made = make_text(update, [(BEER,), said], limits())
    assert made is not None
    assert made.candidate.text == 'Mostly "tea", then "beer".'
    invented = model_candidate('{"clauses": [{"text": "Mostly \\"gin\\"", "facets": ["item.9"]}]}')
    assert make_text(update, invented, limits()) is None
    assert model_candidate("I cannot help with that.") == model_candidate('{"clauses": []}') == []


def test_without_enough_right_targets_there_is_no_text() -> None:
    # Nothing of the next stage was told: what a text says of wine or gin cannot be grounded.
    assert make_text(asked(("gin", "tea")), [(TEA,)], limits()) is None
    # Right about one of two is less than 80 %.
    assert make_text(asked(("tea", "gin"), ("beer", "tea")), [(TEA,)], limits()) is None
    # Saying of both values the same decides nothing.
    assert make_text(asked(("tea", "milk")), [(TEA, MILK)], limits()) is None


def test_a_merged_text_names_each_value_once_and_keeps_to_the_budget() -> None:
    both = merge([(TEA, say("no longer", "wine")), (say("recently", "tea"), MILK)], 120)
    assert both == (TEA, say("no longer", "wine"), MILK)
    small = merge([(TEA, MILK, BEER)], 7)
    assert small == (TEA,)
    assert num_tokens(judge(written(small), asked(), limits(7)).candidate.text) <= 7  # type: ignore[union-attr]
    assert merge([], 120) == ()


def test_candidates_differ_by_the_numbers_of_the_rules_and_the_configs_come_first() -> None:
    made = variants(CHOICE)
    assert made[0] == CHOICE
    assert len({repr(one) for one in made}) == len(made) == 6


def test_a_reply_with_one_wrong_clause_of_two_is_refused_and_half_as_bad() -> None:
    judged = judge(written((TEA, say("no longer", "milk"))), asked(), limits())
    assert judged.candidate is None
    assert judged.rejection is Rejection.CONTRADICTED
    assert judged.reading is not None
    assert (judged.reading.clauses, judged.reading.ungrounded) == (2, 1)
    assert judged.reading.named.keys() == {("item", "tea")}


def test_a_reply_that_cannot_be_read_says_nothing() -> None:
    for reply in ("", "I like tea.", '{"clauses": []}', '{"clauses": "tea"}'):
        assert judge(reply, asked(), limits()).reading is None


def test_stages_follow_on_each_other_and_no_examined_day_is_trained_on() -> None:
    options = ProfileTraining(stage_days=7, chains=2)
    plan = plan_stages(options, date(2024, 1, 1), date(2024, 3, 31))
    assert plan.examined == Stages(date(2024, 3, 10), date(2024, 3, 17), date(2024, 3, 24), date(2024, 3, 31))
    assert [stages.end for stages in plan.trained] == [date(2024, 3, 10), date(2024, 3, 17)]
    assert plan.trained[-1].end == plan.examined.first  # what is scored begins where training ends
    assert plan.first_day == date(2024, 2, 18)


def test_too_few_days_are_refused_with_what_is_needed() -> None:
    options = ProfileTraining(stage_days=7, chains=2, until=date(2024, 2, 1))
    with pytest.raises(NotLandedError, match="needs the 43 days up to 2024-02-01"):
        plan_stages(options, date(2024, 1, 1), date(2024, 3, 31))
