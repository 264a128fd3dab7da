"""What moves a user's embedding along a direction: each modality, text and event left out, and the model asked again.

Nothing is approximated: a left-out value is that of a user who never had the events. Leave-one-out values are neither
causes nor parts of a sum: what two units have in common shows in neither, and what takes both shows in each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain.buckets import bucket_of
from updater.errors import NotFoundError
from updater.explanation.left_out import Embed, Unit, embeddings_without, event_units, modality_units, text_units
from updater.pipeline.query import Query, embed
from updater.pipeline.user_ids import state_ids
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.state.event_store import Buffer
from updater.users.event_batches import UserEvents, load_events

MOST_TEXTS = 500
MOST_EVENTS = 500
"""More are not left out one by one: the texts with most events, and the newest events, are."""
ITSELF = "the embedding itself"
"""Name of the direction where no other is given."""
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What leaving something out does to the score."""

    modality: str
    text: str | None
    """None for a modality as a whole."""
    event_id: str | None
    event_time: str | None
    """UTC; None for more than one event, and for a snapshot's row, which has no time."""
    num_events: int
    """Events that are left out."""
    effect: float
    """Score of the embedding less the score without them: positive if they move it along the direction."""
    moved: float
    """One less the cosine of the two embeddings."""


@dataclass(frozen=True)
class Explanation:
    """What moves a user's embedding for a scenario."""

    user_id: str
    """As the state knows the user: the lake's id, or its pseudonym."""
    scenario: str
    query: str
    as_of: str
    """Instant (UTC) up to which everything known is in it: the end of the newest committed window."""
    model: str
    trained: bool
    direction: str
    """Where it comes from: a file, or `the embedding itself`."""
    score: float
    """The product of embedding and direction: a linear model's score without its intercept, or 1."""
    modalities: list[Effect]
    """Largest effect first, of either sign."""
    texts: list[Effect]
    events: list[Effect]
    num_texts: int
    """Distinct texts of the user, of which at most `MOST_TEXTS` were left out."""
    num_events: int
    """Buffered events of the user, of which at most `MOST_EVENTS` were left out one by one."""


def explain_user(
    context: Context,
    user_id: str,
    scenario: str,
    direction: Float64 | None = None,
    direction_name: str = "",
    progress: Progress = no_progress,
) -> Explanation:
    """Leave out each modality, text and event of a user, by the source id, and ask the live model again.

    Args:
        context: the deployment.
        user_id: whom to explain.
        scenario: a scenario of the config, asked as `Query` asks it.
        direction: coefficients for the embedding's columns, shape (E,); None for the embedding itself, along which
            an effect says how far the embedding moves away, and no sign means better or worse.
        direction_name: where they come from.
        progress: called with how many embeddings are computed.

    Raises:
        NotFoundError: the user has no events or was erased, or the scenario is unknown.
        NothingCommittedError: no window is committed.
    """
    asked = Query(context, None, scenario)
    [user] = state_ids(context, [user_id])
    if user in context.ledger.erased():
        asked.erased.append(user)
        raise NotFoundError(asked.missing(), kind="user", name=user)
    with Session(context, asked.model) as session, one_thread():
        events = _read(context, session, asked, user)
        if not any(event.num_events_U[0] for event in events):
            asked.unknown.append(user)
            raise NotFoundError(asked.missing(), kind="user", name=user)
        found = Effects(
            events,
            lambda batch: embed(context.settings, session, batch, asked.question),
            context.settings.run.users_per_batch,
            direction,
            progress,
        )
    return Explanation(
        user_id=user,
        scenario=scenario,
        query=asked.question.query,
        as_of=asked.window.as_of.isoformat(),
        model=asked.model.name,
        trained=asked.model.trained,
        direction=ITSELF if direction is None else direction_name,
        score=found.score,
        modalities=found.modalities,
        texts=found.texts,
        events=found.events,
        num_texts=len(text_units(events)),
        num_events=sum(int(event.num_events_U[0]) for event in events),
    )


def _read(context: Context, session: Session, asked: Query, user: str) -> list[UserEvents]:
    settings, window = context.settings, asked.window
    table = pa.table({"user_id": pa.array([user], pa.string())})
    buckets = [bucket_of(user, settings.buffer.num_buckets)]
    files = context.all_event_files(window.ds)
    return [
        load_events(
            Buffer(session.connection, modality, files[modality.name], settings.buffer.days, settings.timezone),
            modality,
            window,
            table,
            buckets,
            session.vectors,
            counted="text",
        )
        for modality in settings.modalities
    ]


class Effects:
    """The effects of one user's units.

    Args:
        events: the buffered events of the user, per modality, read with their texts.
        embed: the model and the question.
        batch_size: users in a call of the model.
        direction: as in `explain_user`.
        progress: called with how many embeddings are computed.
    """

    def __init__(
        self,
        events: Sequence[UserEvents],
        embed: Embed,
        batch_size: int,
        direction: Float64 | None,
        progress: Progress,
    ) -> None:
        self._events = events
        groups = (modality_units(events), text_units(events)[:MOST_TEXTS], event_units(events)[:MOST_EVENTS])
        # A text of one event is that event: what leaves out the same is computed once. First of all, nothing.
        units = list(dict.fromkeys([Unit(0, ()), *(unit for group in groups for unit in group)]))
        vectors: dict[Unit, Float64] = {}
        for values_BE in embeddings_without(events, units, embed, batch_size):
            for vector_E in values_BE:
                vectors[units[len(vectors)]] = vector_E.astype(np.float64)
            progress("leaving out", len(vectors), len(units))
        self._whole = vectors[units[0]]
        self._direction = self._whole if direction is None else direction
        self.score = float(self._whole @ self._direction)
        self.modalities, self.texts, self.events = (
            self._of([(unit, vectors[unit]) for unit in group], kind)
            for group, kind in zip(groups, ("modality", "text", "event"), strict=True)
        )

    def _of(self, found: Sequence[tuple[Unit, Float64]], kind: str) -> list[Effect]:
        effects = [self._effect(unit, without, kind) for unit, without in found]
        return sorted(effects, key=lambda one: (-abs(one.effect), one.modality, one.text or "", one.event_id or ""))

    def _effect(self, unit: Unit, without: Float64, kind: str) -> Effect:
        events = self._events[unit.modality]
        first = unit.rows[0]
        said = events.said.slice(first, 1).to_pylist()[0] if events.said is not None else {}
        time = events.times_N[first]
        dated = kind == "event" and not np.isnan(time)
        return Effect(
            modality=events.modality.name,
            text=None if kind == "modality" else said.get("value"),
            event_id=said.get("event_id") if kind == "event" else None,
            event_time=datetime.fromtimestamp(float(time), UTC).isoformat() if dated else None,
            num_events=len(unit.rows),
            effect=self.score - float(without @ self._direction),
            moved=max(0.0, 1 - float(without @ self._whole)),
        )
