"""What maintenance writes to the ledger: several days at once or none, and a first day that never goes back."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.factories import utc
from updater.errors import ConcurrentUpdateError
from updater.ledger import LedgerWriter, PartitionRecord, open_writer, upgrade

NOW = utc("2024-06-01")
DAYS = [date(2024, 5, day) for day in (1, 2, 3)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    upgrade(url)
    writer = open_writer(url)
    for ds in DAYS:
        writer.record_partition(record(ds, f"{ds.day}.parquet"))
    yield writer


def record(ds: date, events_file: str | None) -> PartitionRecord:
    return PartitionRecord(
        modality="bill",
        ds=ds,
        source_etag="token",
        source_digest="digest",
        modality_fingerprint="declaration",
        events_file=events_file,
        num_rows=1,
        num_rejected=0,
        num_bytes=1,
        recorded_at=NOW,
    )


def named(ledger: LedgerWriter) -> list[str | None]:
    return [partition.events_file for partition in ledger.partitions("bill")]


def test_days_are_swapped_together(ledger: LedgerWriter) -> None:
    old = {ds: f"{ds.day}.parquet" for ds in DAYS[:2]}
    assert ledger.swap_event_files("bill", old, "merged/a.parquet", 0)
    assert named(ledger) == ["merged/a.parquet", "merged/a.parquet", "3.parquet"]
    assert ledger.swap_event_files("bill", dict.fromkeys(DAYS[:2], "merged/a.parquet"), None, 0)
    assert named(ledger) == [None, None, "3.parquet"]


def test_a_day_that_was_recorded_anew_stops_the_swap_of_all(ledger: LedgerWriter) -> None:
    old = {ds: f"{ds.day}.parquet" for ds in DAYS}
    ledger.record_partition(record(DAYS[2], "rewritten.parquet"))
    assert not ledger.swap_event_files("bill", old, "merged/a.parquet", 0)
    assert named(ledger) == ["1.parquet", "2.parquet", "rewritten.parquet"]


def test_nothing_is_swapped_after_an_erasure(ledger: LedgerWriter) -> None:
    ledger.record_erasures(["ann"], NOW)
    with pytest.raises(ConcurrentUpdateError, match="erased"):
        ledger.swap_event_files("bill", {DAYS[0]: "1.parquet"}, "merged/a.parquet", 0)
    assert named(ledger)[0] == "1.parquet"


def test_the_reach_never_goes_back(ledger: LedgerWriter) -> None:
    assert ledger.earliest_recomputable() is None
    for ds, expected in ((DAYS[1], DAYS[1]), (DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])):
        ledger.advance_earliest_recomputable(ds)
        assert ledger.earliest_recomputable() == expected
