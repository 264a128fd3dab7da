"""Who answers the questions: the interface of generators, and the one that computes its answers from the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from updater.training.useru.facts.claims import Claim, claim
from updater.training.useru.facts.events import Profile
from updater.training.useru.facts.topics import Topic, most_relevant


@dataclass(frozen=True)
class Draft:
    """An answer before reflection. What it says is its claims and its free text, and both are checked."""

    topic: str
    question: str
    claims: tuple[Claim, ...] = ()
    free_text: str = ""
    """Sentences that come with no claims, as a language model writes them."""


class Generator(Protocol):
    """Makes question-answer pairs about a profile; nothing it says is kept unchecked."""

    @property
    def version(self) -> str:
        """Name and version, kept with every row."""
        ...

    def drafts(self, profile: Profile, pool: Sequence[Topic]) -> Sequence[Draft]:
        """One draft for each topic of `pool` that the generator finds relevant to `profile`."""
        ...

    def close(self) -> None:
        """Give back what it holds, such as connections."""
        ...


class LogGenerator:
    """Asks each topic's own question and answers with its measures. Equal profiles give equal answers."""

    version = "log-1"

    def drafts(self, profile: Profile, pool: Sequence[Topic]) -> list[Draft]:
        """Drafts of the ten most relevant topics; a topic about which the log says nothing is left out."""
        drafts = []
        for topic in most_relevant(pool, profile):
            found = [claim(profile, measure, scope) for measure, scope in topic.parts]
            claims = tuple(each for each in found if each is not None)
            if claims:
                drafts.append(Draft(topic.name, topic.question, claims))
        return drafts

    def close(self) -> None:
        """It holds nothing."""
