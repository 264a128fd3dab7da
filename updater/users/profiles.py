"""From the buffered events of a batch of users to their textual profiles."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import clean
from updater.profile.facets import NEVER, CountedEvents, Int64
from updater.profile.profile import Profiles, write_profiles
from updater.users.event_batches import MICROSECONDS, UserEvents


def profiles_of(events: Sequence[UserEvents], users: Int64, choice: ProfileChoice) -> Profiles:
    """Profiles of `users` (positions in `events`, which were read with what is counted)."""
    num_events_U = np.zeros(len(users), np.int64)
    for event in events:
        num_events_U += event.num_events_U[users]
    newest_U = newest_events(events, users)
    return write_profiles(
        [counted_events(event, users) for event in events if event.said is not None], newest_U, num_events_U, choice
    )


def newest_events(events: Sequence[UserEvents], users: Int64) -> Int64:
    """Each user's newest event time over all modalities with times, in microseconds; `NEVER` without any."""
    newest_U = np.full(len(users), NEVER)
    for event in events:
        if event.modality.kind == "stream":
            newest_U = np.maximum(newest_U, _newest(event, users))
    return newest_U


def counted_events(events: UserEvents, users: Int64) -> CountedEvents:
    """The events of `users` in a modality that have a value to be counted."""
    is_state = events.modality.kind == "snapshot"
    rows, offsets = events.rows_of(users)
    values, value_of_row = _cleaned(events.said, rows)
    has_value = value_of_row >= 0
    return CountedEvents(
        modality=events.modality.name,
        is_state=is_state,
        values=values,
        num_users=len(users),
        user_N=np.repeat(np.arange(len(users)), np.diff(offsets))[has_value],
        value_N=value_of_row[has_value],
        time_N=np.zeros(np.count_nonzero(has_value), np.int64) if is_state else _microseconds(events, rows[has_value]),
    )


def _cleaned(said: pa.Table | None, rows: Int64) -> tuple[list[str], Int64]:
    """Distinct cleaned values, sorted, and each row's position among them; -1 without a value."""
    if said is None or not len(rows):
        return [], np.full(len(rows), -1)
    encoded = said["value"].combine_chunks().take(pa.array(rows)).dictionary_encode()
    shown = [clean(value) for value in encoded.dictionary.to_pylist()]
    values = sorted({value for value in shown if value})
    positions = {value: position for position, value in enumerate(values)}
    # One more at the end, for rows that are null.
    place = np.array([*(positions.get(value, -1) for value in shown), -1])
    return values, place[encoded.indices.fill_null(len(shown)).to_numpy()]


def _newest(events: UserEvents, users: Int64) -> Int64:
    starts, ends = events.offsets_U1[users], events.offsets_U1[users + 1]
    owners = np.flatnonzero(ends > starts)
    newest_U = np.full(len(users), NEVER)
    newest_U[owners] = _microseconds(events, ends[owners] - 1)
    return newest_U


def _microseconds(events: UserEvents, rows: Int64) -> Int64:
    """Event times as whole microseconds; as seconds in float64 they are exact to a tenth of one."""
    return np.rint(events.times_N[rows] * MICROSECONDS).astype(np.int64)
