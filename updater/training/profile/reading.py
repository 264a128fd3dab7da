"""What a reply says: read, checked as the served path checks it, and scored by the rule that reads texts.

A reply that is served passes the check as a whole. To learn from, each of its clauses is looked at by itself as well,
so that one wrong clause among three is better than three.
"""

import re
from dataclasses import dataclass

from updater.profile.clean import num_tokens
from updater.profile.language_model.check import Candidate, Limits, Rejection, check
from updater.profile.language_model.known import KnownFacet
from updater.profile.language_model.reply import Clause, read_reply
from updater.profile.language_model.vocabulary import NO_LONGER, OVER
from updater.training.profile.history.windows import Update
from updater.training.profile.reward import Reading

PERCENT = 100
_QUOTED, _WORD = re.compile(r'"[^"]*"'), re.compile(r"[^\s,;:.]+")


@dataclass(frozen=True)
class Judged:
    """A reply that was looked at."""

    reading: Reading | None
    """None if it cannot be read, or has no clause."""
    candidate: Candidate | None
    """What would be served; None if the reply is refused."""
    rejection: Rejection | None


def judge(reply: str, update: Update, limits: Limits) -> Judged:
    """Read a reply to an update and check it."""
    clauses, told = read_reply(reply), update.question.facets
    found = check(clauses, told, limits)
    candidate, rejection = (None, found) if isinstance(found, Rejection) else (found, None)
    return Judged(_reading(clauses, told, limits) if clauses else None, candidate, rejection)


def _reading(clauses: tuple[Clause, ...], told: tuple[KnownFacet, ...], limits: Limits) -> Reading:
    named: dict[tuple[str, str], float] = {}
    texts, ungrounded = [], 0
    for clause in clauses:
        alone = check([clause], told, limits)
        if isinstance(alone, Candidate):
            texts.append(alone.text)
            named |= going_on(alone)
        else:
            texts.append(clause.text)
            ungrounded += alone is not Rejection.OVER_BUDGET
    return Reading(named, len(clauses), ungrounded, num_tokens(" ".join(dict.fromkeys(texts))))


def going_on(candidate: Candidate) -> dict[tuple[str, str], float]:
    """How much a text of one clause says for each value that it names as going on: the shares of the two weights,
    added, as `utility.named_values` has it for texts by rules. What it calls over counts nothing.
    """
    outside_quotes = _QUOTED.sub(" ", candidate.text).lower().replace("no longer", NO_LONGER)
    says_over = bool(OVER & {*_WORD.findall(outside_quotes)})
    return {
        facet.key: (facet.long_percent + facet.recent_percent) / PERCENT
        for facet in candidate.facets
        if not (says_over and facet.is_over)
    }
