"""Users at an anchor day as the model sees them, read through the daily update's own layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from updater.domain.buckets import is_held_out
from updater.model.batch import UserBatch
from updater.pipeline.daily.bucket_values import read_buffer
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import Session
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries
from updater.training.steps.distributed import Rank, deal_out
from updater.users.event_batches import UserEvents, user_batch


@dataclass(frozen=True)
class Profiles:
    """All users with buffered events at the end of day `anchor`. Texts are held once, not once for each event."""

    anchor: date
    users: npt.NDArray[np.str_]
    """Sorted."""
    events: tuple[UserEvents, ...]

    @cached_property
    def summaries(self) -> tuple[Summaries, ...]:
        """Each modality's summaries of all users, as the daily update stores them."""
        return tuple(event.summarize(np.arange(len(self.users))) for event in self.events)

    def batch(self, rows: npt.NDArray[np.int64]) -> UserBatch:
        """The model's input for the users at `rows`, as the daily update would make it."""
        return user_batch(self.events, rows)

    def num_tokens(self, row: int) -> int:
        """Event tokens in the prefix of the user at `row`."""
        return sum(min(int(event.num_events_U[row]), event.modality.max_events) for event in self.events)


def read_profiles(context: Context, session: Session, anchor: date) -> Profiles:
    """Read the buffer as it was known at the end of `anchor`, whose days must have been landed and encoded."""
    window = context.window(anchor)
    buckets = range(context.settings.buffer.num_buckets)
    users: set[str] = set()
    files = context.all_event_files(anchor)
    for modality in context.settings.modalities:
        buffer = Buffer(
            session.connection, modality, files[modality.name], context.settings.buffer.days, context.settings.timezone
        )
        users.update(pc.unique(buffer.everyone(window)["user_id"]).to_pylist())
    known = sorted(users)
    events = tuple(read_buffer(context, session, window, buckets, known).events)
    return Profiles(anchor, np.array(known, dtype=str), events)


def read_all(
    context: Context, anchors: Iterable[date], progress: Progress = no_progress, rank: Rank | None = None
) -> dict[date, Profiles]:
    """Profiles at every anchor day, in that order; of processes that train together each reads some days for all."""
    session, wanted = Session(context), list(anchors)
    profiles: dict[date, Profiles] = {}
    progress("reading profiles", 0, len(wanted))
    for known in deal_out(partial(read_profiles, context, session), wanted, rank or Rank()):
        profiles[known.anchor] = known
        progress("reading profiles", len(profiles), len(wanted))
    return profiles


def held_out_users(profiles: Mapping[date, Profiles]) -> set[str]:
    """The users of `profiles` that nothing is trained on."""
    users = {user for known in profiles.values() for user in known.users.tolist()}
    return {user for user in users if is_held_out(user)}
