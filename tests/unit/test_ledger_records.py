"""What is written is read back: here on SQLite, in tests/integration/test_ledger_servers.py on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy.exc import StatementError

from updater.errors import ConfigError, WindowOrderError
from updater.ledger import AuditRecord, LedgerWriter, ModelRecord, PartitionRecord, open_reader, open_writer, upgrade

DAY = date(2026, 1, 5)
AS_OF = datetime(2026, 1, 6, tzinfo=UTC)
NOW = datetime(2026, 1, 6, 4, 5, 6, 789012, tzinfo=UTC)
NUM_CONTENDERS = 8


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def writer(ledger_url: str) -> LedgerWriter:
    upgrade(ledger_url)
    return open_writer(ledger_url)


def partition(modality: str = "bill", ds: date = DAY) -> PartitionRecord:
    return PartitionRecord(
        modality=modality,
        ds=ds,
        source_etag="t1",
        source_digest="s1",
        modality_fingerprint="d1",
        events_file="abc.parquet",
        num_rows=10,
        num_rejected=1,
        num_bytes=2**40,
        recorded_at=NOW,
    )


def model(version: int = 1, live: bool = False) -> ModelRecord:
    return ModelRecord(version=version, digest=f"m{version}", name="tiny", trained=False, created_at=NOW, live=live)


def test_a_partition_is_replaced_by_its_key(writer: LedgerWriter) -> None:
    assert writer.partition("bill", DAY) is None
    writer.record_partition(partition())
    writer.record_partition(partition("visit"))
    again = replace(partition(), source_digest="s2", events_file=None, num_rows=0, recorded_at=NOW + timedelta(days=1))
    writer.record_partition(again)
    assert writer.partition("bill", DAY) == again
    assert writer.partition("visit", DAY) == partition("visit")


@pytest.mark.parametrize(
    ("modality", "from_date", "to_date", "expected"),
    [
        (None, None, None, ["bill 5", "visit 5", "bill 6", "bill 7"]),
        ("bill", None, None, ["bill 5", "bill 6", "bill 7"]),
        (None, date(2026, 1, 6), None, ["bill 6", "bill 7"]),
        (None, None, date(2026, 1, 6), ["bill 5", "visit 5", "bill 6"]),
        ("bill", date(2026, 1, 6), date(2026, 1, 6), ["bill 6"]),
        ("visit", date(2026, 1, 6), date(2026, 1, 9), []),
    ],
)
def test_partitions_of_a_range(
    writer: LedgerWriter, modality: str | None, from_date: date | None, to_date: date | None, expected: list[str]
) -> None:
    for name, day in (("bill", 7), ("visit", 5), ("bill", 5), ("bill", 6)):
        writer.record_partition(partition(name, date(2026, 1, day)))
    found = writer.partitions(modality, from_date, to_date)
    assert [f"{record.modality} {record.ds.day}" for record in found] == expected


def test_retries_of_a_window_keep_the_first_clock(writer: LedgerWriter) -> None:
    assert writer.window(DAY) is None
    first = writer.open_window(DAY, AS_OF, NOW)
    assert (first.ds, first.as_of, first.opened_at, first.completed_at, first.counts) == (DAY, AS_OF, NOW, None, {})
    assert writer.open_window(DAY, AS_OF, NOW + timedelta(hours=1)) == first
    assert writer.window(DAY) == first


def test_a_window_is_completed_once(writer: LedgerWriter) -> None:
    writer.open_window(DAY, AS_OF, NOW)
    completed = writer.complete_window(DAY, {"rows": 3, "views": ["a"]}, NOW)
    assert (completed.completed_at, completed.counts) == (NOW, {"rows": 3, "views": ["a"]})
    assert writer.complete_window(DAY, {"rows": 4}, NOW + timedelta(hours=1)) == completed
    assert writer.open_window(DAY, AS_OF, NOW + timedelta(hours=2)) == completed == writer.window(DAY)


def test_a_window_that_was_never_opened_cannot_be_completed(writer: LedgerWriter) -> None:
    with pytest.raises(WindowOrderError, match="updater run --ds 2026-01-05"):
        writer.complete_window(DAY, {}, NOW)
    assert writer.windows() == []


def test_the_first_window_is_the_oldest_that_was_attempted(writer: LedgerWriter) -> None:
    assert writer.first_window() is None
    for offset in (1, 0, 2):
        writer.open_window(DAY + timedelta(days=offset), AS_OF, NOW)
    assert writer.first_window() == DAY


def test_the_watermark_is_the_newest_completed_window(writer: LedgerWriter) -> None:
    assert writer.watermark() is None
    for offset in (2, 0, 1):
        writer.open_window(DAY + timedelta(days=offset), AS_OF, NOW)
    assert writer.watermark() is None
    writer.complete_window(DAY + timedelta(days=1), {}, NOW)
    writer.complete_window(DAY, {}, NOW)
    assert writer.watermark() == DAY + timedelta(days=1)
    assert [window.ds.day for window in writer.windows()] == [7, 6, 5]
    assert [window.ds.day for window in writer.windows(last=2)] == [7, 6]


def test_eight_attempts_open_one_window(writer: LedgerWriter, ledger_url: str) -> None:
    barrier = Barrier(NUM_CONTENDERS)

    def attempt(contender: int) -> datetime:
        own = open_writer(ledger_url)
        barrier.wait()
        return own.open_window(DAY, AS_OF, NOW + timedelta(seconds=contender)).opened_at

    with ThreadPoolExecutor(NUM_CONTENDERS) as pool:
        clocks = set(pool.map(attempt, range(NUM_CONTENDERS)))
    window = writer.window(DAY)
    assert window is not None
    assert clocks == {window.opened_at}


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 6, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_instants_keep_microseconds_and_are_read_in_utc(writer: LedgerWriter, instant: datetime) -> None:
    stored = writer.open_window(DAY, instant, NOW).as_of
    assert stored == instant
    assert stored.tzinfo is UTC


def test_an_instant_without_a_timezone_is_refused(writer: LedgerWriter) -> None:
    with pytest.raises(StatementError, match="no timezone"):
        writer.open_window(DAY, AS_OF.replace(tzinfo=None), NOW)
    assert writer.windows() == []


def test_one_model_is_live(writer: LedgerWriter) -> None:
    assert writer.live_model() is None
    writer.add_model(model(2))
    assert writer.live_model() is None
    writer.add_model(model(1, live=True))
    assert writer.models() == [model(1, live=True), model(2)]
    writer.set_live_model(2)
    assert writer.models() == [model(1), model(2, live=True)]
    assert writer.live_model() == model(2, live=True)


def test_adding_a_model_again_changes_nothing(writer: LedgerWriter) -> None:
    writer.add_model(model(1, live=True))
    writer.add_model(model(2))
    writer.set_live_model(2)
    writer.add_model(replace(model(1, live=True), name="other", created_at=AS_OF))
    assert writer.models() == [model(1), model(2, live=True)]
    with pytest.raises(ConfigError, match=r"version 1 exists with other weights \(digest m1, not z\)"):
        writer.add_model(replace(model(1), digest="z"))


def test_an_unknown_model_does_not_become_live(writer: LedgerWriter) -> None:
    with pytest.raises(ConfigError, match="no model version 1; known: none"):
        writer.set_live_model(1)
    writer.add_model(model(1, live=True))
    with pytest.raises(ConfigError, match="no model version 3; known: 1"):
        writer.set_live_model(3)
    assert writer.live_model() == model(1, live=True)


def test_a_setting_is_fixed_by_the_first(writer: LedgerWriter) -> None:
    assert writer.setting("num_buckets") is None
    assert writer.fix_setting("num_buckets", "16") == "16"
    assert writer.fix_setting("num_buckets", "8") == "16"
    assert writer.setting("num_buckets") == "16"


def test_the_audit_is_read_newest_first(writer: LedgerWriter) -> None:
    assert writer.audit() == []
    writer.record_audit("erase", {"user": "ü", "rows": 3}, "ann", NOW)
    writer.record_audit("promote", {"version": 2}, "bob", NOW)
    first, second = (
        AuditRecord(id=1, at=NOW, actor="ann", action="erase", subject={"user": "ü", "rows": 3}),
        AuditRecord(id=2, at=NOW, actor="bob", action="promote", subject={"version": 2}),
    )
    assert writer.audit() == [second, first]
    assert writer.audit(last=1) == [second]


def test_a_reader_sees_what_was_written_and_cannot_write(writer: LedgerWriter, ledger_url: str) -> None:
    reader = open_reader(ledger_url)
    writer.record_partition(partition())
    assert reader.partitions() == [partition()]
    written = {name for name in dir(writer) if not name.startswith("_")}
    looked = {name for name in dir(reader) if not name.startswith("_")}
    assert not {name for name in looked if name.startswith(("record_", "add_", "set_", "fix_", "open_", "move_"))}
    assert looked < written
