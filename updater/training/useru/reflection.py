"""Reflection: what an answer says is checked against the log, and what the log does not bear out is mended or dropped.

The paper lets its language model re-read the draft. Here the log decides: claims are computed again, and of free text
the numbers and the category names are looked up. What a sentence says in other words cannot be checked.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from updater.training.useru.answers import Draft
from updater.training.useru.facts.claims import Claim
from updater.training.useru.facts.events import Profile
from updater.training.useru.facts.measures import MEASURES, RECENT, WEEK, Scope, value_of

_FROM_TWO = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_FROM_TWO, start=2)}
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
_NEGATION = re.compile(r"\b(?:no|not|never|none|neither|nor|without|cannot|\w+n't)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_PERIODS = ((0, 0), (WEEK, 0), (RECENT, 0), (RECENT, RECENT))
_BY_COLUMN = ("total", "mean", "largest")


@dataclass(frozen=True)
class Reflected:
    """An answer that the log bears out."""

    topic: str
    question: str
    answer: str
    claims: tuple[Claim, ...]
    num_repaired: int
    num_dropped: int
    """Claims and sentences left out."""


class Reflector:
    """Checks drafts about one profile, which is the log.

    Args:
        profile: what the drafts are about.
        vocabulary: every category name that may occur, so that a name foreign to the profile is recognized.
    """

    def __init__(self, profile: Profile, vocabulary: frozenset[str]) -> None:
        self._profile = profile
        self._scopes: dict[str, set[tuple[str, str]]] = {}
        """Folded category name to the (modality, category) pairs that the profile has of it."""
        self._columns: dict[str, set[str]] = {"": set()}
        for event in profile.events:
            if event.category:
                pair = event.modality, event.category
                self._scopes.setdefault(event.category.casefold(), set()).add(pair)
            self._columns.setdefault(event.modality, set()).update(event.numbers)
        self._names = _any_of(_folded(vocabulary).union(self._scopes))
        self._modalities = _any_of(frozenset(name.replace("_", " ") for name in self._columns))
        self._states = _any_of(frozenset(event.text.casefold() for event in profile.events if event.is_state))
        lengths = "|".join(str(days) for days in (WEEK, RECENT, profile.num_days) if days <= profile.num_days)
        self._spans = re.compile(rf"(?:(?:last|past|first|recent) (?:{lengths}) days|(?:{lengths}) days before)\b")

    def reflect(self, draft: Draft) -> Reflected | None:
        """Keep of a draft what the log supports; None if its question is not supported or nothing of it is left."""
        if not self.supports(draft.question):
            return None
        kept: list[Claim] = []
        num_repaired = num_dropped = 0
        for claim in draft.claims:
            truth = claim if claim.holds(self._profile) else claim.corrected(self._profile)
            if truth is None or truth in kept:
                num_dropped += 1
                continue
            num_repaired += truth != claim
            kept.append(truth)
        sentences = [claim.text(self._profile) for claim in kept]
        for sentence in filter(None, map(str.strip, _SENTENCE_END.split(draft.free_text))):
            if self.supports(sentence):
                sentences.append(sentence)
            else:
                num_dropped += 1
        if not sentences:
            return None
        return Reflected(draft.topic, draft.question, " ".join(sentences), tuple(kept), num_repaired, num_dropped)

    def supports(self, sentence: str) -> bool:
        """True if nothing that can be checked in `sentence` is without support.

        A name must be in the profile, or outside it if the sentence denies something; a denial must hold no number.
        Elsewhere a number must be a measure of a category that the sentence names, else of a modality that it names,
        else of any modality or of all together.
        """
        rest = self._spans.sub(" ", sentence.casefold())
        rest = self._states.sub(" ", rest)
        named = set(self._names.findall(rest))
        known = named & self._scopes.keys()
        is_denial = bool(_NEGATION.search(rest))
        if known != (set() if is_denial else named):
            return False
        rest = self._names.sub(" ", rest)
        numbers = _numbers_of(rest)
        if not numbers or is_denial:
            return not numbers
        scopes = {pair for name in known for pair in self._scopes[name]}
        if not scopes:
            found = self._modalities.findall(rest)
            scopes = {(name, "") for name in self._columns if not found or name.replace("_", " ") in found}
        supported = {value for scope in scopes for value in self._values(*scope)}
        return all(any(_says(written, value) for value in supported) for written in numbers)

    def _values(self, modality: str, category: str) -> set[float]:
        """Every number that the measures give for a scope."""
        values = set()
        for days, skip in _PERIODS:
            for name in MEASURES:
                columns = self._columns[modality] if name in _BY_COLUMN else {""}
                for column in columns:
                    scope = Scope(modality=modality, category=category, column=column, days=days, skip=skip)
                    value = value_of(self._profile, name, scope)
                    if isinstance(value, float):
                        values.add(value)
        return values


@lru_cache(maxsize=1)
def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


@lru_cache(maxsize=64)
def _any_of(names: frozenset[str]) -> re.Pattern[str]:
    """Matches any of `names` as whole words, longer names first; a plural s may follow. Matches nothing for none."""
    longest_first = sorted(filter(None, names), key=lambda name: (-len(name), name))
    if not longest_first:
        return re.compile(r"(?!)")
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?:s|es)?(?!\w)")


def _numbers_of(text: str) -> list[str]:
    words = [_NUMBER_WORDS[word] for word in re.findall(r"[a-z]+", text) if word in _NUMBER_WORDS]
    return [number.replace(",", "") for number in _NUMBER.findall(text)] + words


def _says(written: str, value: float) -> bool:
    """True if `written` is `value` rounded to the decimals that are written."""
    decimals = len(written.partition(".")[2])
    return abs(float(written) - value) <= 0.5 / 10.0**decimals + 1e-9
