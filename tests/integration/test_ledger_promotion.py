"""A model version becomes live by compare-and-swap, on SQLite and on PostgreSQL."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from updater.errors import ConcurrentUpdateError
from updater.ledger import BucketRecord, Head, LedgerWriter, ModelRecord, Published, open_writer, upgrade

DAY = date(2026, 1, 1)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NUM_BUCKETS = 6


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerWriter:
    """Three versions, the first of them live, and one completed window."""
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    upgrade(url)
    writer = open_writer(url)
    for version in (1, 2, 3):
        name = f"v{version}"
        writer.add_model(
            ModelRecord(version=version, digest=name, name=name, trained=False, created_at=NOW, live=version == 1)
        )
    writer.open_window(DAY, NOW, NOW)
    for bucket in range(NUM_BUCKETS):
        move(writer, head(bucket))
    writer.complete_window(DAY, {}, NOW)
    return writer


def head(bucket: int, version: int = 1, days: int = 0, generation: int = 0) -> Head:
    return Head(
        bucket=bucket,
        ds=DAY + timedelta(days=days),
        digest=f"{bucket}-{version}-{days}",
        generation=generation,
        model_version=version,
        scenarios={"lapse": "q"},
        modalities={"bill": "m"},
    )


def move(writer: LedgerWriter, new: Head) -> bool:
    record = BucketRecord(
        bucket=new.bucket,
        ds=new.ds,
        generation=new.generation,
        digest=new.digest,
        counts={},
        files=[],
        committed_at=NOW,
    )
    return writer.move_head(writer.head(new.bucket), new, record)


def promote(writer: LedgerWriter, version: int, seen: Published, generation: int = 1) -> bool:
    return writer.promote_model(version, seen, generation, {"version": version}, "me", NOW)


def test_a_version_becomes_live_with_an_audit_row_and_heads_go_on(ledger: LedgerWriter) -> None:
    seen = ledger.published()
    assert (seen.live, seen.watermark, seen.is_idle, len(seen.heads)) == (1, DAY, True, NUM_BUCKETS)
    assert promote(ledger, 2, seen)
    assert [(record.version, record.live) for record in ledger.models()] == [(1, False), (2, True), (3, False)]
    (entry,) = ledger.audit()
    assert (entry.action, entry.actor, entry.subject) == ("promote", "me", {"version": 2})
    assert ledger.published().heads == {bucket: replace(old, generation=1) for bucket, old in seen.heads.items()}
    with pytest.raises(
        ConcurrentUpdateError, match="Model version 2 became live while bucket 0 was computed with version 1"
    ):
        move(ledger, head(0, version=1, days=1, generation=1))
    assert move(ledger, head(0, version=2, days=1, generation=1))


@pytest.mark.parametrize("what", ["head", "window", "erasure", "promotion"])
def test_nothing_happens_if_anything_was_published_since(ledger: LedgerWriter, what: str) -> None:
    seen = ledger.published()
    if what == "head":
        move(ledger, head(0, days=1))
        assert not ledger.published().is_idle
    elif what == "window":
        ledger.open_window(DAY + timedelta(days=1), NOW, NOW)
        ledger.complete_window(DAY + timedelta(days=1), {}, NOW)
    elif what == "erasure":
        ledger.record_erasures(["ann"], NOW)
    else:
        # There and back again: the live version is the same, but what was made rests on other heads.
        promote(ledger, 2, seen)
        promote(ledger, 1, ledger.published(), generation=2)
    before = ledger.published(), ledger.audit(), ledger.models()
    assert not promote(ledger, 3, seen)
    assert (ledger.published(), ledger.audit(), ledger.models()) == before
    assert promote(ledger, 3, ledger.published(), generation=3)


def test_of_two_promotions_and_moving_heads_one_side_wins(ledger: LedgerWriter) -> None:
    """Whoever comes first: a head that was computed with the former version never moves after the promotion."""
    seen = ledger.published()
    start = Barrier(NUM_BUCKETS + 2)

    def contend(number: int) -> Any:
        start.wait()
        if number >= NUM_BUCKETS:
            return promote(ledger, number - NUM_BUCKETS + 2, seen)
        try:
            return "moved" if move(ledger, head(number, days=1)) else "same"
        except ConcurrentUpdateError:
            return "refused"

    with ThreadPoolExecutor(NUM_BUCKETS + 2) as threads:
        done = Counter(threads.map(contend, range(NUM_BUCKETS + 2)))
    assert done[True] <= 1
    assert done[True] == (done["moved"] == 0)
    assert done["refused"] == (NUM_BUCKETS if done[True] else 0)
