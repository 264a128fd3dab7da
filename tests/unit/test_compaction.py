"""Which files are read, merged and dropped: decisions about names and days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.domain.bucket_file_names import BucketFile, directory_name, file_name, live, parse
from updater.domain.compaction import MERGE_DAYS, BucketMerge, bucket_merges, plan_events
from updater.domain.retention import Retention, first_stream_day, next_month
from updater.errors import ConfigError

JANUARY = date(2024, 1, 1)


def day(number: int, bucket: int = 3, generation: int = 0) -> BucketFile:
    ds = JANUARY + timedelta(days=number)
    return made(f"ds={ds}", file_name(bucket, generation))


def made(directory: str, name: str) -> BucketFile:
    file = parse(directory, name, f"root/{directory}/{name}")
    assert file is not None
    return file


def result(merge: BucketMerge) -> BucketFile:
    return made(*merge.target)


@pytest.mark.parametrize("kind", ["span", "base"])
@pytest.mark.parametrize(("bucket", "generation"), [(0, 0), (12, 3), (1234, 0)])
def test_a_merged_file_says_in_its_name_what_it_holds(kind: str, bucket: int, generation: int) -> None:
    directory = directory_name(kind, JANUARY, date(2024, 1, 9))
    file = made(directory, file_name(bucket, generation, "0123456789abcdef0123"))
    expected = (kind, JANUARY, date(2024, 1, 9), bucket, generation)
    assert (file.kind, file.first, file.last, file.bucket, file.generation) == expected


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("ds=2024-01-01", "bucket-003-0123456789abcdef.parquet"),
        ("ds=2024-01-01_2024-01-02", "bucket-003-0123456789abcdef.parquet"),
        ("span=2024-01-01", "bucket-003-0123456789abcdef.parquet"),
        ("span=2024-01-01_2024-01-02", "bucket-003.parquet"),
        ("ds=2024-13-01", "bucket-003.parquet"),
        ("ds=2024-01-01", ".bucket-003.parquet.tmp"),
        ("month=2024-01", "bucket-003.parquet"),
    ],
)
def test_other_names_are_no_files_of_buckets(directory: str, name: str) -> None:
    assert parse(directory, name, "path") is None


def test_days_that_were_merged_are_not_read_but_what_came_later_is() -> None:
    merged = made("span=2024-01-01_2024-01-05", file_name(3, 1, "0" * 16))
    files = [day(0), day(4, generation=1), day(5), day(2, generation=2), day(2, bucket=4)]
    assert set(live([merged, *files])) == {day(2, generation=2), day(2, bucket=4), merged, day(5)}
    larger = made("span=2024-01-01_2024-01-06", file_name(3, 2, "1" * 16))
    assert live([merged, larger, *files]) == [day(2, bucket=4), larger]
    newest = made("base=2024-01-01_2024-01-06", file_name(3, 2, "2" * 16))
    assert live([newest, larger]) == [newest]


def test_a_month_is_merged_by_the_week_and_when_it_ends() -> None:
    week = [day(n) for n in range(MERGE_DAYS)]
    assert bucket_merges(week[:-1], day(6).first, None, 0) == []
    (first,) = bucket_merges(week, day(6).first, None, 0)
    assert (first.kind, result(first).first, result(first).last) == ("span", day(0).first, day(6).first)
    rest = [result(first), day(29), day(30)]
    assert bucket_merges(rest, day(29).first, None, 0) == []
    (last,) = bucket_merges([*rest, day(31)], day(31).first, None, 0)
    assert live([*rest, result(last)]) == [result(last)]
    assert bucket_merges([result(last), day(31)], day(31).first, None, 0) == []


def test_a_restated_day_joins_its_month_and_an_unfinished_generation_waits() -> None:
    (month,) = bucket_merges([day(n) for n in range(31)], day(30).first, None, 0)
    files = [result(month), day(4, generation=1)]
    assert bucket_merges(files, day(40).first, None, 0) == []
    (merge,) = bucket_merges(files, day(40).first, None, 1)
    assert result(merge).generation == 1
    assert live([*files, result(merge)]) == [result(merge)]


def test_old_months_become_one_base_that_grows() -> None:
    months = [made("span=2024-01-01_2024-01-31", file_name(3, 0, "0" * 16))]
    (base,) = bucket_merges(months, date(2024, 2, 20), date(2024, 2, 1), 0)
    assert base.kind == "base"
    assert live([*months, result(base)]) == [result(base)]
    assert bucket_merges([result(base)], date(2024, 2, 20), date(2024, 2, 1), 0) == []
    months = [result(base), made("span=2024-02-01_2024-02-29", file_name(3, 0, "0" * 16))]
    (grown,) = bucket_merges(months, date(2024, 3, 20), date(2024, 3, 1), 0)
    assert live([*months, result(grown)]) == [result(grown)]


@given(
    st.lists(st.tuples(st.integers(0, 69), st.integers(0, 2)), max_size=60), st.lists(st.integers(0, 75), max_size=4)
)
def test_every_published_day_stays_in_exactly_one_file_that_is_read(
    days: list[tuple[int, int]], stops: list[int]
) -> None:
    published = {day(number, generation=generation) for number, generation in days}
    held = {file: {file} for file in published}
    for stop in sorted(stops):
        last = JANUARY + timedelta(days=stop)
        for merge in bucket_merges(live(held), last, None, 2):
            assert all(file.last <= last for file in merge.files)
            held[result(merge)] = set().union(*(held[file] for file in merge.files))
    read = [file for merged in live(held) for file in held[merged]]
    assert sorted(read, key=repr) == sorted(published, key=repr)


def names(*ranges: tuple[date, int]) -> dict[date, str]:
    return {
        first + timedelta(days=n): f"{first + timedelta(days=n)}.parquet" for first, num in ranges for n in range(num)
    }


def test_events_of_a_stream_are_merged_by_month_and_dropped_beyond_the_reach() -> None:
    last = date(2024, 4, 10)
    plan = plan_events(names((date(2023, 12, 20), 113)), True, last, date(2024, 3, 1), 20)
    assert set(plan.dropped) == set(names((date(2023, 12, 20), 43)))
    spans = [(min(merge.names), max(merge.names)) for merge in plan.merges]
    assert spans == [
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 31)),
        (date(2024, 4, 1), last),
    ]
    merged = {ds: merge.target for merge in plan.merges for ds in merge.names}
    again = plan_events(merged, True, last, date(2024, 3, 1), 20)
    assert (again.merges, again.dropped) == ((), {})
    restated = {**merged, date(2024, 2, 7): "other.parquet", last: "other.parquet"}
    assert [len(merge.names) for merge in plan_events(restated, True, last, None, 20).merges] == [29]


def test_a_snapshot_is_never_dropped_but_kept_once_per_user() -> None:
    last, earliest = date(2024, 4, 10), date(2024, 3, 1)
    plan = plan_events(names((date(2023, 1, 1), 20), (date(2024, 2, 1), 60)), False, last, earliest, 20)
    assert plan.dropped == {}
    base, march, *_ = plan.merges
    assert (base.newest_only, min(base.names), max(base.names)) == (True, date(2023, 1, 1), date(2024, 2, 29))
    assert not march.newest_only
    merged = {ds: merge.target for merge in plan.merges for ds in merge.names}
    assert plan_events(merged, False, last, earliest, 20).merges == ()
    assert plan_events(merged, False, last, date(2024, 4, 1), 20).merges[0].newest_only


@pytest.mark.parametrize("num_days", [1, 2, 30, 400])
@pytest.mark.parametrize("watermark", [date(2024, 1, 1), date(2024, 2, 29), date(2024, 12, 31)])
def test_what_is_kept_covers_what_is_asked_for(watermark: date, num_days: int) -> None:
    earliest = Retention(history_days=num_days).earliest_recomputable(watermark)
    assert earliest is not None
    assert earliest.day == 1
    assert earliest <= watermark - timedelta(days=num_days - 1) < next_month(earliest)
    # The changes of the window `earliest` are against the day before, whose buffer begins so much earlier.
    assert first_stream_day(earliest, 90) <= earliest - timedelta(days=90)
    assert Retention(history_days=0).earliest_recomputable(watermark) is None


@pytest.mark.parametrize("key", ["history_days", "embedding_days", "rejected_days", "grace_hours"])
def test_a_negative_retention_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"retention.{key} is -1"):
        Retention(**{key: -1})
