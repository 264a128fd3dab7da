"""Render: mentions as sentences of a fixed grammar, as many as the budget holds.

text     = sentence*  |  "Little is known: " N " events."  |  "Little is known: 1 event."  |  "No events are known."
sentence = NOUN ": " clause ("; " clause)* "."
clause   = KIND " " words (", " words)*
"""

from collections.abc import Mapping, Sequence

from updater.profile.clean import BYTES_PER_TOKEN
from updater.profile.rules import Kind, Mention

NOTHING = "No events are known."
_KINDS = {kind: position for position, kind in enumerate(Kind)}


def choose(mentions: Sequence[Mention], nouns: Sequence[str], budget_tokens: int) -> list[Mention]:
    """The mentions that fit into the budget, in the order of the text.

    First what each modality has to say first, then what it has to say second: so a modality with much to say leaves
    room for the others. What does not fit is left out, and what is shorter may still fit.
    """
    room = budget_tokens * BYTES_PER_TOKEN
    chosen: list[Mention] = []
    sentences: set[int] = set()
    clauses: set[tuple[int, Kind]] = set()
    for mention in sorted(mentions, key=lambda one: (one.rank, _KINDS[one.kind], one.modality)):
        size = len(mention.words.encode())
        clause = mention.modality, mention.kind
        if clause in clauses:
            size += len(", ")
        elif mention.modality in sentences:
            size += len(f"; {mention.kind} ")
        else:
            size += len(f"{nouns[mention.modality]}: {mention.kind} .".encode()) + (len(" ") if sentences else 0)
        if size <= room:
            room -= size
            chosen.append(mention)
            sentences.add(mention.modality)
            clauses.add(clause)
    return sorted(chosen, key=lambda one: (one.modality, _KINDS[one.kind], one.rank))


def render(chosen: Sequence[Mention], nouns: Sequence[str], num_events: int) -> str:
    """The text of chosen mentions, which are in its order.

    Args:
        chosen: the mentions.
        nouns: what each modality is called.
        num_events: events of the user, for a text without mentions.
    """
    if not chosen:
        return f"Little is known: {num_events} event{'s' if num_events > 1 else ''}." if num_events else NOTHING
    sentences: dict[int, dict[Kind, list[str]]] = {}
    for mention in chosen:
        sentences.setdefault(mention.modality, {}).setdefault(mention.kind, []).append(mention.words)
    return " ".join(_sentence(nouns[modality], clauses) for modality, clauses in sentences.items())


def _sentence(noun: str, clauses: Mapping[Kind, Sequence[str]]) -> str:
    said = [f"{kind} {', '.join(words)}" for kind, words in clauses.items()]
    return f"{noun}: {'; '.join(said)}."
