"""What reflection keeps, mends and drops."""

import pytest

from tests.profiles import SHOPPER, VOCABULARY
from updater.training.useru.answers import Draft
from updater.training.useru.facts.claims import Claim
from updater.training.useru.facts.measures import Scope
from updater.training.useru.reflection import Reflector

BILL = Scope(modality="bill")
QUESTION = "What does the user buy?"


def read(text: str, *claims: Claim):
    return Reflector(SHOPPER, VOCABULARY).reflect(Draft("topic", QUESTION, claims, text))


def test_a_wrong_claim_is_repaired_and_one_without_evidence_dropped():
    answer = read(
        "",
        Claim("num_events", BILL, 6.0),
        Claim("top_categories", BILL, ("wine", "dairy")),
        Claim("longest_gap", Scope(modality="page_view"), 3.0),
        Claim("num_categories", BILL, 3.0),
        Claim("num_events", BILL, 5.0),
    )
    assert [claim.value for claim in answer.claims] == [5.0, ("dairy", "2% milk", "wine"), 3.0]
    assert (answer.num_repaired, answer.num_dropped) == (2, 2)
    assert answer.answer == (
        "The log holds 5 bill events in the last 90 days. "
        "The most frequent kinds of bill events in the last 90 days are dairy, 2% milk, wine. "
        "The bill events in the last 90 days span 3 different kinds."
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "The user likes to plan ahead.",
        "The user bought dairy 3 times.",
        "The user bought DAIRY three times in the last 90 days.",
        "Bills add up to 64.00, with a mean of 12.8.",
        "60 % of the bills are dairy.",
        "In the last 28 days the user spent 20 on dairy.",
        "The user spent 4 on 2% milk.",
        "The user does not buy fuel.",
        "The user holds a gold card since 1999.",
        "There was one page view.",
    ],
)
def test_supported_sentences_stay(sentence):
    answer = read(sentence)
    assert answer is not None and answer.answer == sentence and answer.num_dropped == 0


@pytest.mark.parametrize(
    "sentence",
    [
        "The user bought fuel.",
        "The user bought dairy and books.",
        "The user bought dairy 4 times.",
        "The user bought dairy seventeen and eleven times.",
        "The user bought wine 3 times in the last 90 days.",
        "Bills add up to 64.5.",
        "The user spends 1,064 on bills.",
        "The user shows 29 days of activity in the last 29 days.",
        "The user never buys dairy.",
        "The user buys no books but much wine.",
        "There are not 5 bill events.",
    ],
)
def test_unsupported_sentences_go(sentence):
    assert read(sentence) is None
    kept = read(f"The user buys dairy. {sentence}")
    assert (kept.answer, kept.num_dropped) == ("The user buys dairy.", 1)


def test_a_question_that_supposes_what_is_not_so_is_dropped():
    claim = Claim("num_events", BILL, 5.0)
    assert Reflector(SHOPPER, VOCABULARY).reflect(Draft("t", "Why does the user buy books so often?", (claim,))) is None
    assert (
        Reflector(SHOPPER, VOCABULARY).reflect(Draft("t", "Why does the user buy dairy so often?", (claim,)))
        is not None
    )
