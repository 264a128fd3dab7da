"""What sampled users had done by the end of a day, read from the event files of the daily update by its own rules.

Days that no window has processed are landed first. Bad rows are set aside, an event counts in its newest version that
had landed by then, and rows of erased users are gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.buckets import bucket_of, is_held_out
from updater.domain.declared.modality import Modality
from updater.domain.declared.profile import ProfileChoice
from updater.labels.events import Events
from updater.profile.facets import CountedEvents
from updater.profile.profile import Profiles
from updater.runtime.deployment import Context
from updater.state.event_store import Buffer
from updater.users.event_batches import MICROSECONDS, UserEvents
from updater.users.profiles import counted_events, profiles_of


@dataclass(frozen=True, eq=False)
class Histories:
    """The buffered events of U users at the end of day `ds`."""

    ds: date
    as_of: int
    """That instant, in microseconds since the epoch."""
    users: tuple[str, ...]
    """Sorted."""
    events: tuple[UserEvents, ...]
    """Per modality; their texts' vectors are not read."""

    @cached_property
    def counted(self) -> tuple[CountedEvents, ...]:
        """What a profile counts, per modality that has anything to be counted."""
        everyone = np.arange(len(self.users))
        return tuple(counted_events(events, everyone) for events in self.events if events.said is not None)

    def profiles(self, choice: ProfileChoice) -> Profiles:
        """The profiles by rules of all these users."""
        return profiles_of(self.events, np.arange(len(self.users)), choice)


def sample_users(users: set[str], number: int, *, held_out: bool) -> list[str]:
    """At most `number` of the users that are, or are not, held out: always the same ones, sorted."""
    found = [user for user in users if is_held_out(user) == held_out]
    return sorted(sorted(found, key=lambda user: (bucket_of(f"profile-training:{user}", 1 << 62), user))[:number])


class HistoryReader:
    """Reads histories of a deployment.

    Args:
        context: the deployment.
        events: lands the days that are not landed yet; None to read what there is.
        connection: DuckDB over the state.
    """

    def __init__(self, context: Context, events: Events | None, connection: duckdb.DuckDBPyConnection) -> None:
        self._context, self._events, self._connection = context, events, connection

    def everyone(self, ds: date) -> set[str]:
        """All users with a buffered stream event at the end of day `ds`."""
        window = self._context.window(ds)
        users: set[str] = set()
        for modality in self._context.settings.modalities:
            if modality.kind == "stream":
                users.update(pc.unique(self._buffer(modality, ds).everyone(window)["user_id"]).to_pylist())
        return users

    def read(self, ds: date, users: Sequence[str]) -> Histories:
        """The buffer of `users` at the end of day `ds`."""
        window = self._context.window(ds)
        wanted = pa.table({"user_id": pa.array(sorted(users), pa.string())})
        choice = self._context.settings.profile
        events = []
        for modality in self._context.settings.modalities:
            column = choice.counted_column(modality)
            content = self._buffer(modality, ds).content(window, wanted, extra=[column] if column else [])
            events.append(_user_events(modality, content, wanted, column))
        as_of = round(window.as_of.timestamp()) * round(MICROSECONDS)
        return Histories(ds, as_of, tuple(wanted["user_id"].to_pylist()), tuple(events))

    def _buffer(self, modality: Modality, ds: date) -> Buffer:
        settings = self._context.settings
        if self._events is not None and modality.kind == "stream":
            self._events.land_past(modality.name, self._context.window(ds), settings.buffer.days)
        elif self._events is not None:
            self._events.land_snapshot(modality.name, self._context.window(ds))
        files = self._context.event_files(modality.name, ds)
        return Buffer(self._connection, modality, files, settings.buffer.days, settings.timezone)


def _user_events(modality: Modality, content: pa.Table, users: pa.Table, column: str) -> UserEvents:
    owners = pc.index_in(content["user_id"].combine_chunks(), value_set=users["user_id"].combine_chunks()).to_numpy()
    num_rows = content.num_rows
    times = content["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    return UserEvents(
        modality=modality,
        offsets_U1=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=users.num_rows))]).astype(np.int64),
        times_N=np.full(num_rows, np.nan) if modality.kind == "snapshot" else times,
        local_N=np.zeros(num_rows),
        text_rows_N=np.zeros(num_rows, np.int64),
        texts_TV=np.zeros((0, 0), np.float16),
        text_ids=[],
        values_NC=np.zeros((num_rows, 0)),
        said=content.select(["event_id", column]).rename_columns(["event_id", "value"]) if column else None,
    )
