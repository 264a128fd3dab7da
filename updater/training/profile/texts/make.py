"""Training texts: generate, validate, merge, after AlignXplore+ (arXiv 2601.04963).

1. Targets: events of the next stage whose value the model was told of, so that a grounded text can name it.
2. Generate: candidates by the rules under several half-lives and thresholds, and, where one is configured, by a
   language model. None is made with a look at the next stage; that only decides which of them are learned from.
3. Validate: a candidate has to pass the check of the served path. For each target the first one that gets it right
   survives.
4. Merge: the union of what the survivors say, each value once, as much as the budget holds.
5. Validate again: the merged text passes the check and gets `MIN_RIGHT` of the targets right, or the user is left out.

Served texts are made without any of this.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import md5

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import num_tokens, quoted
from updater.profile.language_model.check import Candidate, Limits
from updater.profile.language_model.reply import Clause, read_reply
from updater.profile.rules import Kind
from updater.profile.utility import score
from updater.training.profile.history.windows import Update
from updater.training.profile.reading import judge
from updater.training.profile.reward import NextEvent

MAX_TARGETS = 5
MIN_TARGETS = 1
"""The paper asks for four, of users with far longer stages."""
MIN_RIGHT = 0.8
HALF_LIVES = (1.0, 0.5, 2.0)
"""Factors of both half-lives, by which candidates differ."""
SHARES = (1.0, 0.5)
"""Factors of both least shares."""


@dataclass(frozen=True)
class Statement:
    """A piece of a text that is taken or left out as a whole."""

    lead: str
    """What is said of the value; of a language model, its whole clause."""
    facets: tuple[str, ...]
    """Ids of the facets that it names."""
    value: str = ""
    """As it is quoted; empty if the lead has it."""


Statements = tuple[Statement, ...]


@dataclass(frozen=True)
class TrainingText:
    """A reply to learn from."""

    reply: str
    candidate: Candidate
    """The text that is served for it."""
    targets: int
    right: int
    """Targets that the text gets right."""


def variants(choice: ProfileChoice) -> list[ProfileChoice]:
    """The rules of the candidates, those of the config first."""
    return [
        replace(
            choice,
            long_half_life_days=choice.long_half_life_days * factor,
            short_half_life_days=choice.short_half_life_days * factor,
            min_long_share=choice.min_long_share * share,
            min_recent_share=choice.min_recent_share * share,
        )
        for factor in HALF_LIVES
        for share in SHARES
    ]


def rule_candidates(update: Update) -> list[Statements]:
    """Generate: what the rules say under each variant, of the values that the model was told of.

    That something shifted from one value to another is left out: both are regular, recent or over, which is said.
    """
    told = {facet.key: facet for facet in update.question.facets}
    found = []
    for choice in variants(update.moment.choice):
        made = update.moment.profiles(choice)
        said = []
        for mention in made.profiles[update.user].mentions:
            events = made.facets[mention.modality].events
            value = events.values[made.facets[mention.modality].value_F[mention.facets[0]]]
            facet = told.get((events.modality, value))
            if mention.kind is not Kind.SHIFTED and facet is not None:
                said.append(Statement(f"{facet.source}: {mention.kind}", (facet.id,), value))
        found.append(tuple(said))
    return list(dict.fromkeys(found))


def model_candidate(reply: str) -> list[Statements]:
    """Generate: what a language model said; nothing if that cannot be read."""
    clauses = read_reply(reply) or ()
    return [tuple(Statement(clause.text, clause.facets) for clause in clauses)] if clauses else []


def make_text(update: Update, candidates: Iterable[Statements], limits: Limits) -> TrainingText | None:
    """Validate candidates on an update's targets and merge them; None if too few targets or right ones are left."""
    targets = choose_targets(update)
    if len(targets) < MIN_TARGETS:
        return None
    passed = [each for each in candidates if judge(written(each), update, limits).candidate is not None]
    survivors: list[Statements] = []
    for target in targets:
        right = next((each for each in passed if _right(each, [target], update, limits)), None)
        if right is not None and right not in survivors:
            survivors.append(right)
    merged = merge(survivors, limits.budget_tokens)
    if not merged:
        return None
    reply = written(merged)
    candidate = judge(reply, update, limits).candidate
    num_right = _right(merged, targets, update, limits)
    if candidate is None or num_right < MIN_RIGHT * len(targets):
        return None
    return TrainingText(reply, candidate, len(targets), num_right)


def choose_targets(update: Update) -> list[NextEvent]:
    """At most `MAX_TARGETS` different events of the next stage whose value the model was told of, chosen by hash."""
    told = {facet.key for facet in update.question.facets}
    known = [event for event in update.events if (event.modality, event.chosen) in told]
    return sorted(dict.fromkeys(known), key=lambda event: md5(repr(event).encode(), usedforsecurity=False).digest())[
        :MAX_TARGETS
    ]


def merge(survivors: Sequence[Statements], budget_tokens: int) -> Statements:
    """The union of what the survivors say: a statement is taken if it fits and names no value that was named before.

    What an earlier one says of a value stays, so that no text says two things of it.
    """
    named: set[str] = set()
    found: Statements = ()
    for statement in (statement for said in survivors for statement in said):
        longer = (*found, statement)
        text = " ".join(clause.text for clause in _clauses(longer))
        # With room for the full stop that the check puts behind a clause.
        if not named & {*statement.facets} and num_tokens(text) + len(longer) <= budget_tokens:
            named |= {*statement.facets}
            found = longer
    return found


def written(statements: Statements) -> str:
    """The reply with these statements."""
    items = [{"text": clause.text, "facets": list(clause.facets)} for clause in _clauses(statements)]
    return json.dumps({"clauses": items}, ensure_ascii=False)


def _clauses(statements: Statements) -> list[Clause]:
    """One clause for all values of which the same is said."""
    grouped: dict[str, list[Statement]] = {}
    for statement in statements:
        grouped.setdefault(statement.lead, []).append(statement)
    found = []
    for lead, same in grouped.items():
        values = ", ".join(quoted(one.value) for one in same if one.value)
        found.append(Clause(f"{lead} {values}" if values else lead, tuple(i for one in same for i in one.facets)))
    return found


def _right(statements: Statements, targets: Sequence[NextEvent], update: Update, limits: Limits) -> int:
    """How many targets the statements get right; what they do not tell apart is not right."""
    reading = judge(written(statements), update, limits).reading
    named = {} if reading is None else reading.named
    return sum(
        score(named, event.modality, event.chosen) > score(named, event.modality, event.rejected) for event in targets
    )
