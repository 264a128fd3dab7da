"""What a model is asked about users: their texts before, and the values of the log that changed since."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from updater.domain.window import Window, day_that_ends
from updater.pipeline.daily.bucket_values import read_buffer
from updater.profile.language_model.known import Key, Seen, counts_of, known_facets
from updater.profile.language_model.prompt import Question
from updater.runtime.deployment import Context
from updater.runtime.session import Session
from updater.state.profiles import WrittenText
from updater.users.profiles import newest_events, profiles_of

Former = tuple[int, WrittenText]
"""A user's text before, and the instant (seconds) that it is of."""


@dataclass(frozen=True)
class Asking:
    """What is asked about one user."""

    user_id: str
    question: Question
    parent: str
    """Digest of the text before; empty for none."""


def questions(
    context: Context,
    session: Session,
    window: Window,
    bucket: int,
    users: Sequence[str],
    former: Mapping[str, Former],
) -> list[Asking]:
    """What is asked about users of a bucket, in their order.

    A text that names what no text may be made of any more is not shown to the model: it begins anew.

    Args:
        context: the deployment.
        session: DuckDB and the texts' vectors.
        window: the window at whose end the users are looked at.
        bucket: their bucket.
        users: who is asked about.
        former: their texts before, as far as they have any.
    """
    choice = context.settings.profile
    usable = {user: former[user] for user in users if user in former and may_stay(context, former[user][1])}
    before = _counts_before(context, session, bucket, usable)
    buffered = read_buffer(context, session, window, [bucket], users, profiles=True)
    positions = buffered.positions(users)
    newest_U = newest_events(buffered.events, positions)
    facets = profiles_of(buffered.events, positions, choice).facets
    asked = []
    for row, user in enumerate(users):
        text = usable[user][1] if user in usable else None
        known = known_facets(
            facets,
            row,
            int(newest_U[row]),
            choice,
            before=before.get(user),
            named=_named(text) if text else (),
            user_id=user,
        )
        question = Question(text.text if text else "", known, choice.budget_tokens)
        asked.append(Asking(user, question, former[user][1].digest if user in former else ""))
    return asked


def may_stay(context: Context, text: WrittenText) -> bool:
    """False for a text that says nothing, or that names a modality of which no text is made any more."""
    settings = context.settings
    counted = {m.name for m in settings.modalities if settings.profile.counted_column(m)}
    return bool(text.text) and {modality for modality, _ in _named(text)} <= counted


def _named(text: WrittenText) -> set[Key]:
    parts = (facet.partition(":") for facet in text.facets)
    return {(modality, value) for modality, _, value in parts}


def _counts_before(
    context: Context, session: Session, bucket: int, former: Mapping[str, Former]
) -> dict[str, dict[Key, Seen]]:
    """What the log had of users when their texts were written, where it can still be told."""
    by_day: dict[date, list[str]] = defaultdict(list)
    for user, (as_of, _) in former.items():
        by_day[day_that_ends(datetime.fromtimestamp(as_of, UTC), context.settings.timezone)].append(user)
    earliest, choice = context.ledger.earliest_recomputable(), context.settings.profile
    found = {}
    for ds, users in sorted(by_day.items()):
        if earliest is not None and ds < earliest:
            continue
        buffered = read_buffer(context, session, context.window(ds), [bucket], users, profiles=True)
        facets = profiles_of(buffered.events, buffered.positions(users), choice).facets
        found.update({user: counts_of(facets, row) for row, user in enumerate(users)})
    return found
