"""Write ordering, without a store."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from updater.store.online.write_ordering import OnlineRow, newest, sort_key, to_datetime, to_microseconds

INSTANTS = st.datetimes(timezones=st.just(UTC))
MICROSECONDS = INSTANTS.map(to_microseconds)
STAMPS = st.tuples(MICROSECONDS, st.none() | MICROSECONDS)


def _order(stamp: tuple[int, int | None]) -> tuple[int, float]:
    event, created = stamp
    return event, float("-inf") if created is None else created


@given(STAMPS, STAMPS)
def test_ranks_sort_as_the_timestamps_do(one: tuple[int, int | None], other: tuple[int, int | None]) -> None:
    assert (sort_key(*one) < sort_key(*other)) == (_order(one) < _order(other))
    assert (sort_key(*one) == sort_key(*other)) == (one == other)
    assert len(sort_key(*one)) == 16


@given(INSTANTS)
def test_microseconds_lose_nothing(instant: datetime) -> None:
    assert to_datetime(to_microseconds(instant)) == instant
    assert to_microseconds(instant.replace(tzinfo=None)) == to_microseconds(instant)
    if instant.year > 1:
        assert to_microseconds(instant.astimezone(timezone(timedelta(hours=-5)))) == to_microseconds(instant)


@given(st.lists(st.tuples(st.sampled_from([b"b", b"a", b"c"]), STAMPS), max_size=12))
def test_newest_keeps_the_maximum_of_each_key_and_the_last_of_equals(writes: list) -> None:
    rows = [OnlineRow(key, *stamp, [str(number).encode()]) for number, (key, stamp) in enumerate(writes)]
    kept = newest(rows)
    assert [row.entity_key for row in kept] == sorted({key for key, _ in writes})
    for row in kept:
        mine = [other for other in rows if other.entity_key == row.entity_key]
        best = max(_order((other.event_us, other.created_us)) for other in mine)
        assert row is [other for other in mine if _order((other.event_us, other.created_us)) == best][-1]
