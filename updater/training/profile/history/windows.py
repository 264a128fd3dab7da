"""Chains of updates of one user: what a model is asked at the end of a stage, and on which events its text is scored.

Nothing that happened, or landed, after the end of an update's stage is in what is asked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from updater.domain.declared.profile import ProfileChoice
from updater.profile.facets import Facets, Int64
from updater.profile.language_model.check import Candidate, Limits, limits_of
from updater.profile.language_model.known import Key, Seen, counts_of, known_facets
from updater.profile.language_model.prompt import Question
from updater.profile.profile import Profile, Profiles
from updater.profile.utility import rejected_value
from updater.training.profile.history.histories import Histories
from updater.training.profile.reward import NextEvent
from updater.users.profiles import newest_events


@dataclass(frozen=True, eq=False)
class Moment:
    """What all users of a chain had done by the end of a stage."""

    histories: Histories
    choice: ProfileChoice

    _profiles: dict[str, Profiles] = field(default_factory=dict)

    def profiles(self, choice: ProfileChoice) -> Profiles:
        """The profiles of all users by rules of these numbers, written once."""
        key = repr(choice)
        if key not in self._profiles:
            self._profiles[key] = self.histories.profiles(choice)
        return self._profiles[key]

    @property
    def rules(self) -> Profiles:
        """The profiles by rules of the config."""
        return self.profiles(self.choice)

    @cached_property
    def popularity(self) -> Mapping[str, Int64]:
        """Per modality how often each of its values occurs among all these users."""
        return {
            part.modality: np.bincount(part.value_N, minlength=len(part.values)).astype(np.int64)
            for part in self.histories.counted
        }

    def counts(self, user: int) -> Mapping[Key, Seen]:
        """What the log has of a user."""
        return counts_of(self.rules.facets, user)

    @cached_property
    def newest_U(self) -> Int64:
        """Each user's newest event time, in microseconds."""
        return newest_events(self.histories.events, np.arange(len(self.histories.users)))


@dataclass(frozen=True, eq=False)
class Former:
    """The text before an update."""

    text: str
    """Empty without one."""
    named: Collection[Key]
    before: Mapping[Key, Seen] | None
    """What the log had when it was written; None without a text."""


@dataclass(frozen=True, eq=False)
class Update:
    """One update of one user's text."""

    user_id: str
    user: int
    """Position of the user in the moment."""
    moment: Moment
    former: Former
    question: Question
    """What the model is asked."""
    events: tuple[NextEvent, ...]
    """Those of the next stage."""

    @property
    def rule_profile(self) -> Profile:
        """What the rules say at the same instant."""
        return self.moment.rules.profiles[self.user]


@dataclass(frozen=True, eq=False)
class Chain:
    """Two updates of one user, of which the second one follows on what the first one wrote."""

    first: Update
    _second: Moment
    _last: Moment

    def second(self, written: Candidate | None) -> Update:
        """The second update.

        Args:
            written: what the first one wrote; None if that was refused, and the text before it stayed.
        """
        first = self.first
        former = first.former
        if written is not None:
            former = Former(written.text, {facet.key for facet in written.facets}, first.moment.counts(first.user))
        return make_update(first.user_id, first.user, self._second, self._last, former)


def make_chains(moments: Sequence[Moment]) -> list[Chain]:
    """A chain for each user with events in both scored stages.

    Args:
        moments: at the ends of the four stages of `Stages`, of the same users.
    """
    start, first, second, last = moments
    found = []
    for user, user_id in enumerate(start.histories.users):
        profile, facets = start.rules.profiles[user], start.rules.facets
        former = Former("", (), None)
        if profile.mentions:
            former = Former(profile.text, named_keys(profile, facets), start.counts(user))
        update = make_update(user_id, user, first, second, former)
        if update.events and next_events(second, last, user):
            found.append(Chain(update, second, last))
    return found


def make_update(user_id: str, user: int, moment: Moment, after: Moment, former: Former) -> Update:
    """An update at `moment`, scored on what had happened since by `after`."""
    newest = int(moment.newest_U[user])
    told = known_facets(moment.rules.facets, user, newest, moment.choice, former.before, former.named, user_id)
    question = Question(former.text, told, moment.choice.budget_tokens)
    return Update(user_id, user, moment, former, question, next_events(moment, after, user))


def named_keys(profile: Profile, facets: Sequence[Facets]) -> frozenset[Key]:
    """The values that a profile by rules names."""
    return frozenset(
        (facets[mention.modality].events.modality, facets[mention.modality].events.values[found.value_F[at]])
        for mention in profile.mentions
        for found in [facets[mention.modality]]
        for at in mention.facets
    )


def next_events(moment: Moment, after: Moment, user: int) -> tuple[NextEvent, ...]:
    """A user's events from the end of one stage to the end of the next, each beside a value drawn by popularity.

    Popularity is that of the moment before: nothing of the next stage decides what is easy.
    """
    found = []
    for old, new in zip(moment.histories.counted, after.histories.counted, strict=True):
        if new.is_state:
            continue
        popularity_T = moment.popularity[old.modality]
        places = {value: place for place, value in enumerate(old.values)}
        own = np.flatnonzero((new.user_N == user) & (new.time_N >= moment.histories.as_of))
        for number, event in enumerate(own.tolist()):
            value = new.values[new.value_N[event]]
            name = f"{moment.histories.ds} {new.modality} {moment.histories.users[user]} {new.time_N[event]} {number}"
            rejected = rejected_value(popularity_T, places.get(value, -1), name)
            if rejected is not None:
                found.append(NextEvent(new.modality, value, old.values[rejected]))
    return tuple(found)


def text_limits(choice: ProfileChoice, histories: Histories) -> Limits:
    """What texts may have: as the served path has it."""
    names = [events.modality.name for events in histories.events]
    uncounted = [
        events.modality.name
        for events in histories.events
        if events.said is None and (events.modality.category or events.modality.text)
    ]
    return limits_of(choice, names, uncounted)
