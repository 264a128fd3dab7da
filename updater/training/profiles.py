"""Users at an anchor day as the model sees them, read through the daily update's own layers."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from updater.model.batch import UserBatch
from updater.pipeline.daily.bucket_values import read_buffer
from updater.runtime.deployment import Context
from updater.runtime.session import Session
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries
from updater.users.event_batches import UserEvents, user_batch


@dataclass(frozen=True)
class Profiles:
    """All users with buffered events at the end of day `anchor`. Texts are held once, not once for each event."""

    anchor: date
    users: npt.NDArray[np.str_]
    """Sorted."""
    events: tuple[UserEvents, ...]
    summaries: tuple[Summaries, ...]

    def batch(self, rows: npt.NDArray[np.int64]) -> UserBatch:
        """The model's input for the users at `rows`, as the daily update would make it."""
        return user_batch(self.events, [summary.take(rows) for summary in self.summaries], rows)

    def overview(self, rows: npt.NDArray[np.int64]) -> UserBatch:
        """The same without any event, which is all that user tokens are made of."""
        events = [replace(event, modality=replace(event.modality, max_events=0)) for event in self.events]
        return user_batch(events, [summary.take(rows) for summary in self.summaries], rows)

    def num_tokens(self, row: int) -> int:
        """Event tokens in the prefix of the user at `row`."""
        counts = (
            min(int(summary.num_events_B[row]), event.modality.max_events)
            for event, summary in zip(self.events, self.summaries, strict=True)
        )
        return sum(counts)


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
    everyone = np.arange(len(known))
    return Profiles(anchor, np.array(known, dtype=str), events, tuple(event.summarize(everyone) for event in events))
