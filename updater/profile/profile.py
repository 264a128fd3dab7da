"""Profiles of users from their counted events: what a row of the feature view holds, and what each mention rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from updater.domain.declared.profile import RULES, ProfileChoice
from updater.profile.clean import num_tokens
from updater.profile.facets import NEVER, CountedEvents, Facets, Int64, count_facets
from updater.profile.foresight import foresight
from updater.profile.render import choose, render
from updater.profile.rules import Mention, mentions

SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Profile:
    """The textual profile of one user."""

    text: str
    mentions: tuple[Mention, ...]
    """What the text says, in its order."""
    modalities: tuple[str, ...]
    """Modalities that the text speaks of."""
    newest_event: int | None
    """Newest event time, whole seconds since the epoch; None without events that have times."""
    foresight: float | None
    """How well the texts of the days before told the last days (`foresight.Foresight`); None if nothing was asked."""
    questions: int
    """Of which the foresight is a share."""

    @cached_property
    def digest(self) -> str:
        """Digest of the text and of who wrote it."""
        return blake2b(f"{RULES}\n{self.text}".encode(), digest_size=16).hexdigest()

    @property
    def num_tokens(self) -> int:
        """Length of the text (see `clean.num_tokens`)."""
        return num_tokens(self.text)


@dataclass(frozen=True)
class Profiles:
    """Profiles of U users, and the facets that their mentions refer to."""

    profiles: Sequence[Profile]
    facets: Sequence[Facets]
    """Per counted modality."""


def write_profiles(
    events: Sequence[CountedEvents], newest_U: Int64, num_events_U: Int64, choice: ProfileChoice
) -> Profiles:
    """Profiles of U users by the rules `rules@4`: a function of each user's events alone.

    Args:
        events: per counted modality.
        newest_U: each user's newest event time over all modalities, in microseconds; `NEVER` without any.
        num_events_U: each user's events over all modalities.
        choice: half-lives, thresholds, words and the budget.
    """
    long_half_life, short_half_life = choice.long_half_life_days, choice.short_half_life_days
    facets = [count_facets(part, newest_U, long_half_life, short_half_life) for part in events]
    names = [part.modality for part in events]
    nouns = [choice.noun(name) for name in names]
    told = foresight(events, newest_U, choice)
    profiles = []
    for user, said in enumerate(mentions(facets, newest_U, choice)):
        chosen = choose(said, nouns, choice.budget_tokens)
        newest = int(newest_U[user])
        profiles.append(
            Profile(
                text=render(chosen, nouns, int(num_events_U[user])),
                mentions=tuple(chosen),
                modalities=tuple(dict.fromkeys(names[mention.modality] for mention in chosen)),
                newest_event=None if newest == NEVER else newest // SECOND,
                foresight=float(told.right_U[user]) if told.questions_U[user] else None,
                questions=int(told.questions_U[user]),
            )
        )
    return Profiles(profiles, facets)
