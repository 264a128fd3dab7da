"""The textual profile of one user, written from the stored events, and what each of its clauses rests on.

A profile follows from the buffered events alone, so this is the published text, to the byte, of a config that publishes
profiles, and what it would be of one that does not. Nothing is written. What a language model keeps beside it could not
be written again, so that is read as it is published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from updater.domain import columns
from updater.domain.buckets import bucket_of
from updater.domain.declared.profile import RULES
from updater.errors import NotFoundError, NothingCommittedError
from updater.pipeline.daily.bucket_values import read_buffer
from updater.pipeline.user_ids import state_ids
from updater.profile.clean import clean
from updater.profile.facets import Facets, Int64
from updater.profile.rules import Mention
from updater.runtime.deployment import Context
from updater.runtime.session import Session
from updater.state.bucket_files import bucket_files
from updater.state.profiles import read_written
from updater.users.event_batches import UserEvents
from updater.users.profiles import profiles_of

MOST_EVIDENCE = 5
"""Events of a facet that are named, the newest ones."""


@dataclass(frozen=True)
class Evidence:
    """What one value of a clause rests on."""

    modality: str
    kind: str
    """What the text says of the value: regularly, recently, shifted, no longer, currently."""
    value: str
    """As the text has it."""
    events: int
    long_share: float
    """Of the modality's long-term weight; of a snapshot, of its rows."""
    recent_share: float
    first: str | None
    """Time of the oldest event (UTC); None for a snapshot, whose rows have no times."""
    last: str | None
    event_ids: Sequence[str]
    """The newest events, at most `MOST_EVIDENCE`."""


@dataclass(frozen=True)
class KeptText:
    """The newest text that a language model keeps of a user, as it is published."""

    updater: str
    """Who wrote it: `llm:<model>@<digest of the rules>`."""
    as_of: str
    """Instant (UTC) whose knowledge it reflects; older than the rules' text if later ones were rejected."""
    text: str
    facets: Sequence[str]
    """What it names, as `modality:value`."""
    parent: str
    """Digest of the text before; empty for a first one."""


@dataclass(frozen=True)
class ProfileReport:
    """A user's textual profile."""

    user_id: str
    """As the state knows the user: the lake's id, or its pseudonym."""
    as_of: str
    """Instant (UTC) up to which everything known is in it: the end of the newest committed window."""
    updater: str
    """Who wrote the text."""
    text: str
    digest: str
    tokens: int
    modalities: Sequence[str]
    newest_event: str | None
    """Newest event time (UTC)."""
    evidence: Sequence[Evidence]
    """In the order of the text."""
    language_model: KeptText | None = None
    """What a language model keeps of the user beside, if there is any."""


def user_profile(context: Context, user_id: str) -> ProfileReport:
    """The profile of a user, by the source id, as of the newest committed window.

    Raises:
        ConfigError: the id is empty or no text.
        NothingCommittedError: no window is committed.
        NotFoundError: the user has no events or was erased.
    """
    [user] = state_ids(context, [user_id])
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing is known; run `updater run --ds …`.")
    if user in context.ledger.erased():
        raise NotFoundError(f"User {user!r} was erased and stays out of the state.", kind="user", name=user)
    window, settings = context.window(watermark), context.settings
    with Session(context) as session:
        bucket = bucket_of(user, settings.buffer.num_buckets)
        events = read_buffer(context, session, window, [bucket], [user], profiles=True).events
    if not any(event.num_events_U[0] for event in events):
        raise NotFoundError(
            f"User {user!r} has no stream event in the {settings.buffer.days} days up to {window} and no snapshot; "
            "check the id, or run the windows that have the user's rows.",
            kind="user",
            name=user,
        )
    made = profiles_of(events, np.zeros(1, np.int64), settings.profile)
    [profile] = made.profiles
    counted = [event for event in events if event.said is not None]
    return ProfileReport(
        user_id=user,
        as_of=window.as_of.isoformat(),
        updater=RULES,
        text=profile.text,
        digest=profile.digest,
        tokens=profile.num_tokens,
        modalities=profile.modalities,
        newest_event=None if profile.newest_event is None else _instant(profile.newest_event),
        evidence=[
            _evidence(counted[mention.modality], made.facets[mention.modality], mention, facet)
            for mention in profile.mentions
            for facet in mention.facets
        ],
        language_model=_kept_text(context, bucket, user),
    )


def _kept_text(context: Context, bucket: int, user: str) -> KeptText | None:
    files = bucket_files(context.layout.offline(columns.PROFILE_LLM_VIEW), bucket)
    own = [(as_of, text) for as_of, text in read_written(files) if text.user_id == user]
    if not own:
        return None
    as_of, text = max(own, key=lambda one: one[0])
    return KeptText(text.updater, _instant(as_of), text.text, text.facets, text.parent)


def _evidence(events: UserEvents, facets: Facets, mention: Mention, facet: int) -> Evidence:
    value, is_state = facets.events.values[facets.value_F[facet]], facets.events.is_state
    return Evidence(
        modality=facets.events.modality,
        kind=mention.kind.value,
        value=value,
        events=int(facets.count_F[facet]),
        long_share=_share(facets.long_F, facet),
        recent_share=_share(facets.short_F, facet),
        first=None if is_state else _instant(int(facets.first_F[facet]) / 1e6),
        last=None if is_state else _instant(int(facets.last_F[facet]) / 1e6),
        event_ids=_event_ids(events.said, value),
    )


def _share(weight_F: Int64, facet: int) -> float:
    return round(float(weight_F[facet] / weight_F.sum()), 4)


def _event_ids(said: pa.Table | None, value: str) -> list[str]:
    rows = said.to_pylist() if said is not None else []
    ids = [row["event_id"] for row in rows if clean(row["value"] or "") == value]
    return ids[::-1][:MOST_EVIDENCE]


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
