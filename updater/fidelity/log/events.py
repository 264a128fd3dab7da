"""Events as questions are made of them: arrays, sorted by user and time.

U users, E events, V values that may be asked for.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from updater.domain.window import buffer_start, day_window
from updater.fidelity.hashing import Keys, text_keys

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_VALUES: Final = 200
"""Most common values of an attribute that are asked for; rarer ones are neither asked for nor offered."""
TEXT: Final = "text"
"""Name of the attribute that an event's whole text is."""
SEPARATORS: Final = (" -> ", "; ")
"""Stand between the parts of an option that has several, so values that hold one are not asked for."""
MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1)


def microseconds(instant: datetime) -> int:
    """An instant of UTC as microseconds since the epoch."""
    return (instant.replace(tzinfo=None) - _EPOCH) // MICROSECOND


@dataclass(frozen=True, eq=False)
class Attribute:
    """A column of a stream, its values as numbers."""

    name: str
    codes_E: Ints
    """Position of the event's value in `names`; from their number on, one that is never asked for; -1 for none."""
    names: tuple[str, ...]
    """The V values that may be asked for, the most common one of the train users first."""

    @cached_property
    def keys_V(self) -> Keys:
        """A key of each value that may be asked for."""
        return text_keys(self.names)

    @cached_property
    def num_codes(self) -> int:
        """One more than the largest code."""
        return int(self.codes_E.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class Stream:
    """The buffered events of a modality, or of all of them together."""

    modality: str
    """Empty for all streams together."""
    num_users: int
    owners_E: Ints
    """Position of the event's user, ascending."""
    times_E: Ints
    """Microseconds since the epoch, ascending within a user."""
    fresh_E: Bools
    """True for what landed on the last day."""
    ids: pa.Array
    category: Attribute | None
    text: Attribute | None

    @cached_property
    def offsets_U1(self) -> Ints:
        """Where each user's events begin, and the last one's end."""
        return np.searchsorted(self.owners_E, np.arange(self.num_users + 1)).astype(np.int64)

    @cached_property
    def num_events_U(self) -> Ints:
        """Events of each user."""
        return np.diff(self.offsets_U1)


@dataclass(frozen=True, eq=False)
class Upcoming:
    """Events of a modality in the days after `as_of`, as they were known at the end of these; of the same users.

    Codes are those of the past's attributes; -1 for every other value.
    """

    modality: str
    owners_E: Ints
    times_E: Ints
    ids: pa.Array
    category_codes_E: Ints
    text_codes_E: Ints


@dataclass(frozen=True, eq=False)
class History:
    """What some users had done by `as_of`."""

    ds: date
    timezone: str
    buffer_days: int
    users: tuple[str, ...]
    """Sorted."""
    train_U: Bools
    streams: tuple[Stream, ...]

    def __post_init__(self) -> None:
        end = microseconds(self.as_of)
        assert all(stream.times_E.max(initial=end - 1) < end for stream in self.streams), "an event of the future"

    @property
    def as_of(self) -> datetime:
        """The end of day `ds`: everything here happened and landed before it."""
        return day_window(self.ds, self.timezone).as_of

    def start(self, num_days: int) -> int:
        """First instant of the `num_days` local days that end with `ds`, in microseconds since the epoch."""
        return microseconds(buffer_start(day_window(self.ds, self.timezone), num_days, self.timezone))

    @cached_property
    def user_keys_U(self) -> Keys:
        """A key of each user."""
        return text_keys(self.users)

    @cached_property
    def together(self) -> Stream:
        """All streams as one, sorted by user and time; the ids are `<modality>/<event id>`."""
        owners = _joined([stream.owners_E for stream in self.streams])
        times = _joined([stream.times_E for stream in self.streams])
        order = self._order_together
        fresh = np.concatenate([np.zeros(0, bool), *(stream.fresh_E for stream in self.streams)])
        named = [pc.binary_join_element_wise(stream.modality, stream.ids, "/") for stream in self.streams]
        ids = pa.concat_arrays([pa.array([], pa.string()), *named])
        return Stream(
            "", len(self.users), owners[order], times[order], fresh[order], ids.take(pa.array(order)), None, None
        )

    @cached_property
    def kinds(self) -> Attribute:
        """The modality of each event of `together`."""
        lengths = [len(stream.owners_E) for stream in self.streams]
        kinds_E = np.repeat(np.arange(len(self.streams)), lengths)
        return Attribute("", kinds_E[self._order_together], tuple(stream.modality for stream in self.streams))

    @cached_property
    def _order_together(self) -> Ints:
        owners = _joined([stream.owners_E for stream in self.streams])
        return np.lexsort((_joined([stream.times_E for stream in self.streams]), owners))


def make_stream(
    modality: str, category: str, has_text: bool, events: pa.Table, users: pa.Array, train_U: Bools, ds: date
) -> Stream:
    """A stream of the events of `users`.

    Args:
        modality: its name.
        category: name of the column that its values are asked by; empty for none.
        has_text: whether its events have a text.
        events: columns user_id, event_id, event_time, ds (the landing day), category and text, sorted by user and time.
        users: sorted ids, among which are those of all events.
        train_U: who decides which values are the most common.
        ds: the last landing day.
    """
    landed = pc.cast(events["ds"], pa.int32()).combine_chunks().to_numpy()
    last = (ds - date(1970, 1, 1)).days
    assert landed.max(initial=last) <= last, "an event that landed later"
    owners = positions(events["user_id"], users)
    of_train = train_U[owners]
    return Stream(
        modality,
        len(users),
        owners,
        times(events),
        landed == last,
        events["event_id"].combine_chunks(),
        _attribute(category, events["category"], of_train) if category else None,
        _attribute(TEXT, events["text"], of_train) if has_text else None,
    )


def make_upcoming(stream: Stream, events: pa.Table, users: pa.Array) -> Upcoming:
    """What comes next in `stream`, of events as for `make_stream`."""
    return Upcoming(
        stream.modality,
        positions(events["user_id"], users),
        times(events),
        events["event_id"].combine_chunks(),
        _codes(stream.category, events["category"]),
        _codes(stream.text, events["text"]),
    )


def positions(values: pa.ChunkedArray, known: pa.Array) -> Ints:
    """Position of each value among `known`; -1 where it is not."""
    found: Ints = pc.fill_null(pc.index_in(values.combine_chunks(), value_set=known), -1).to_numpy().astype(np.int64)
    return found


def times(events: pa.Table) -> Ints:
    """Event times in microseconds since the epoch."""
    found: Ints = events["event_time"].cast(pa.int64()).combine_chunks().to_numpy().astype(np.int64)
    return found


def _attribute(name: str, values: pa.ChunkedArray, of_train_E: Bools) -> Attribute:
    encoded = pc.dictionary_encode(values.combine_chunks())
    distinct = [value or "" for value in encoded.dictionary.to_pylist()]
    raw = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    counts = np.bincount(raw[(raw >= 0) & of_train_E], minlength=len(distinct))
    askable = np.array(
        [count > 0 and _can_be_asked(value) for value, count in zip(distinct, counts, strict=True)], bool
    )
    # The commonest first; equally common ones by name.
    order = sorted(range(len(distinct)), key=lambda code: (not askable[code], -int(counts[code]), distinct[code]))
    rank = np.full(len(distinct) + 1, -1)
    rank[order] = np.arange(len(order))
    rank[[code for code, value in enumerate(distinct) if not value]] = -1
    names = [distinct[code] for code in order[:MAX_VALUES] if askable[code]]
    return Attribute(name, rank[raw], tuple(names))


def _can_be_asked(value: str) -> bool:
    return bool(value) and not any(separator in value for separator in SEPARATORS)


def _codes(attribute: Attribute | None, values: pa.ChunkedArray) -> Ints:
    return positions(values, pa.array(attribute.names if attribute else (), pa.string()))


def _joined(arrays: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *arrays])
