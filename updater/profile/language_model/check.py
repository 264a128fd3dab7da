"""The check of a candidate against the log: every clause rests on what the user did, in permitted words.

What is accepted is put together again from known pieces, words of the vocabulary and values of the log between quotes,
so no character of a reply reaches a text by itself. What a clause says of its values is checked in two ways only: what
is called over is over, and what is called recent is recent.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import num_tokens, quoted
from updater.profile.language_model.known import KnownFacet
from updater.profile.language_model.reply import Clause
from updater.profile.language_model.vocabulary import NO_LONGER, OVER, RECENT, allowed_words, forbidden_words

_PIECES = re.compile(r'"([^"]*)"|([,;:])|([^\s",;:]+)')
_MARKS = ",;:"


class Rejection(StrEnum):
    """Why a candidate is not taken: the first reason that its first bad clause gives."""

    UNREADABLE = "unreadable"
    """The reply is not of the form."""
    EMPTY = "empty"
    """It has no clause."""
    FORBIDDEN = "forbidden"
    """A clause speaks of a modality that no text may be made of."""
    UNGROUNDED = "ungrounded"
    """A clause names no facet or an invented one, or quotes other values than those of its facets."""
    UNQUOTED = "unquoted"
    """Outside quotes there is something else than the permitted words."""
    CONTRADICTED = "contradicted"
    """A clause calls over what goes on, or recent what is not."""
    OVER_BUDGET = "over budget"
    """The text is longer than the budget."""


@dataclass(frozen=True)
class Candidate:
    """A text that is accepted."""

    text: str
    facets: tuple[KnownFacet, ...]
    """What it names, in its order, each once."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it speaks of."""
        return tuple(dict.fromkeys(facet.modality for facet in self.facets))


@dataclass(frozen=True)
class Limits:
    """What texts of a deployment may have beside the log's values."""

    budget_tokens: int
    words: frozenset[str]
    """Permitted outside quotes, in lower case."""
    forbidden_words: frozenset[str]
    """Words of which each would be about a forbidden modality."""
    forbidden_modalities: frozenset[str]


class _Piece(NamedTuple):
    """One piece of a clause: a quoted value, a mark or a word."""

    value: str | None
    mark: str | None
    word: str | None


def limits_of(choice: ProfileChoice, modalities: Sequence[str], forbidden: Collection[str]) -> Limits:
    """The limits of a config.

    Args:
        choice: budget and wording.
        modalities: all that are declared.
        forbidden: those of which no text is made.
    """
    sources: Mapping[str, str] = {name: choice.noun(name) for name in modalities}
    return Limits(
        budget_tokens=choice.budget_tokens,
        words=allowed_words(source for name, source in sources.items() if name not in forbidden),
        forbidden_words=forbidden_words(sources, forbidden),
        forbidden_modalities=frozenset(forbidden),
    )


def check(clauses: Sequence[Clause] | None, known: Sequence[KnownFacet], limits: Limits) -> Candidate | Rejection:
    """The text of a reply, or why there is none. One clause that is refused refuses all.

    Args:
        clauses: of `read_reply`.
        known: the facets that the model was told of.
        limits: budget and words.
    """
    if clauses is None:
        return Rejection.UNREADABLE
    if not clauses:
        return Rejection.EMPTY
    by_id = {facet.id: facet for facet in known}
    sentences: dict[str, tuple[KnownFacet, ...]] = {}
    for clause in clauses:
        if any(name.rpartition(".")[0] in limits.forbidden_modalities for name in clause.facets):
            return Rejection.FORBIDDEN
        facets = tuple(by_id[name] for name in dict.fromkeys(clause.facets) if name in by_id)
        if not facets or len(facets) < len(set(clause.facets)):
            return Rejection.UNGROUNDED
        sentence = _sentence(clause.text, facets, limits)
        if isinstance(sentence, Rejection):
            return sentence
        sentences.setdefault(sentence, facets)
    text = " ".join(sentences)
    if num_tokens(text) > limits.budget_tokens:
        return Rejection.OVER_BUDGET
    return Candidate(text, tuple(dict.fromkeys(facet for facets in sentences.values() for facet in facets)))


def _sentence(text: str, facets: Sequence[KnownFacet], limits: Limits) -> str | Rejection:
    """A clause put together again from words and quoted values, or why it cannot be."""
    pieces = [_Piece(*match.groups()) for match in _PIECES.finditer(text.strip().removesuffix("."))]
    values = [piece.value for piece in pieces if piece.value is not None]
    if {*values} != {facet.value for facet in facets}:
        return Rejection.UNGROUNDED
    if text.count('"') != 2 * len(values):
        return Rejection.UNQUOTED
    said: list[str] = []
    words: set[str] = set()
    for value, mark, written in _with_no_longer(pieces):
        word = (written or "").lower()
        if value is not None:
            said.append(quoted(value))
        elif mark is not None:
            said.append(mark)
        elif word in limits.words:
            words.add(word)
            said.append(word.replace(NO_LONGER, "no longer"))
        else:
            return Rejection.FORBIDDEN if word in limits.forbidden_words else Rejection.UNQUOTED
    is_false = (words & OVER and not any(facet.is_over for facet in facets)) or (
        words & RECENT and not any(facet.is_recent for facet in facets)
    )
    return Rejection.CONTRADICTED if is_false else _joined(said)


def _with_no_longer(pieces: Sequence[_Piece]) -> list[_Piece]:
    """The pieces with the words `no longer` as one."""
    found: list[_Piece] = []
    for piece in pieces:
        if found and (piece.word or "").lower() == "longer" and (found[-1].word or "").lower() == "no":
            found[-1] = _Piece(None, None, NO_LONGER)
        else:
            found.append(piece)
    return found


def _joined(said: Sequence[str]) -> str:
    """Words, values and marks as a sentence: a blank before each but a mark, a capital and a full stop."""
    text = "".join(piece if piece in _MARKS else f" {piece}" for piece in said).strip()
    return f"{text[:1].upper()}{text[1:]}."
