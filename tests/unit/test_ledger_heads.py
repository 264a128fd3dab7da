"""Heads move by compare-and-swap: here on SQLite, in tests/integration/test_ledger_servers.py on PostgreSQL."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from updater.errors import ConcurrentUpdateError, HeadConflictError, WindowOrderError
from updater.ledger import BucketRecord, Head, LedgerWriter, open_writer, upgrade

FIRST = date(2026, 1, 1)
COMMITTED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NUM_CONTENDERS = 8


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def writer(ledger_url: str) -> LedgerWriter:
    upgrade(ledger_url)
    return open_writer(ledger_url)


def head(offset: int, digest: str = "a", bucket: int = 0, generation: int = 1) -> Head:
    return Head(
        bucket=bucket,
        ds=FIRST + timedelta(days=offset),
        digest=digest,
        generation=generation,
        model_version=1,
        scenarios={"lapse": "q1"},
        modalities={"bill": "m1"},
    )


def history(of: Head, **changes: Any) -> BucketRecord:
    record = BucketRecord(
        bucket=of.bucket,
        ds=of.ds,
        generation=of.generation,
        digest=of.digest,
        counts={"users": 2, "by_reason": {"new": 2}},
        files=["lapse_v1/ds=2026-01-01/bucket-000.parquet"],
        committed_at=COMMITTED_AT,
    )
    return replace(record, **changes)


def move(writer: LedgerWriter, previous: Head | None, new: Head) -> bool:
    return writer.move_head(previous, new, history(new))


def test_heads_move_day_by_day_and_leave_history(writer: LedgerWriter) -> None:
    assert writer.head(0) is None
    assert writer.heads() == {}
    assert writer.newest_head() is None
    previous = None
    for offset in range(3):
        assert move(writer, previous, head(offset))
        previous = head(offset)
    assert writer.head(0) == head(2)
    assert writer.bucket_record(0, FIRST + timedelta(days=1)) == history(head(1))
    assert writer.bucket_record(0, FIRST + timedelta(days=3)) is None


def test_buckets_move_on_their_own(writer: LedgerWriter) -> None:
    move(writer, None, head(5, bucket=3))
    move(writer, None, head(0, bucket=2))
    move(writer, None, head(0, bucket=1))
    move(writer, head(0, bucket=1), head(1, bucket=1, digest="b"))
    assert writer.heads() == {1: head(1, bucket=1, digest="b"), 2: head(0, bucket=2), 3: head(5, bucket=3)}
    assert writer.newest_head() == FIRST + timedelta(days=5)
    assert writer.bucket_records(FIRST) == [history(head(0, bucket=1)), history(head(0, bucket=2))]


def test_the_same_work_twice_is_a_retry(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    assert not move(writer, None, head(0))
    move(writer, head(0), head(1, "b"))
    late = history(head(1, "b"), committed_at=COMMITTED_AT + timedelta(days=1), counts={})
    assert not writer.move_head(head(0), head(1, "b"), late)
    assert not move(writer, head(1, "b"), head(1, "b"))
    assert writer.bucket_record(0, FIRST + timedelta(days=1)) == history(head(1, "b"))


def test_a_zombie_with_other_values_is_refused(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    move(writer, head(0), head(1, "b"))
    with pytest.raises(HeadConflictError, match=r"Bucket 0 .* 2026-01-02 \(digest b, not c\)"):
        move(writer, head(0), head(1, "c"))
    with pytest.raises(HeadConflictError):
        move(writer, None, head(1, "c"))
    assert writer.head(0) == head(1, "b")


@pytest.mark.parametrize("previous", [head(0), head(1), None], ids=["gap", "missing-day", "from-nothing"])
def test_a_gap_is_refused(writer: LedgerWriter, previous: Head | None) -> None:
    move(writer, None, head(0))
    with pytest.raises(WindowOrderError, match="--from-date 2026-01-02 --to-date 2026-01-03"):
        move(writer, previous, head(2))
    assert writer.head(0) == head(0)
    assert writer.bucket_record(0, head(2).ds) is None


def test_an_older_day_is_refused(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    move(writer, head(0), head(1))
    with pytest.raises(WindowOrderError, match="--from-date 2026-01-01 --to-date 2026-01-02 --restate") as refused:
        move(writer, head(1), head(0))
    assert (refused.value.ds, refused.value.bucket) == (FIRST, 0)


def test_an_attempt_that_was_superseded_may_try_again(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    move(writer, head(0), head(1))
    with pytest.raises(ConcurrentUpdateError, match="moved on to 2026-01-02 while 2026-01-01 was computed") as refused:
        move(writer, None, head(0))
    assert refused.value.retryable


def test_a_day_computed_from_replaced_values_is_refused(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    with pytest.raises(HeadConflictError, match=r"2026-01-01 \(digest a, not z\) than 2026-01-02 was computed from"):
        move(writer, head(0, "z"), head(1))
    move(writer, head(0), head(0, "b", generation=2))
    with pytest.raises(HeadConflictError, match=r"2026-01-01 \(digest b, not a\) than 2026-01-02 was computed from"):
        move(writer, head(0), head(1))
    assert move(writer, head(0, "b", generation=2), head(1, generation=2))


def test_a_restatement_walks_again_and_keeps_the_older_history(writer: LedgerWriter) -> None:
    for offset in range(3):
        move(writer, head(offset - 1) if offset else None, head(offset))
    previous = head(2)
    for offset in range(1, 3):
        new = head(offset, "r", generation=2)
        assert move(writer, previous, new)
        assert not move(writer, previous, new)
        previous = new
    assert writer.head(0) == head(2, "r", generation=2)
    assert writer.bucket_records(FIRST) == [history(head(0))]
    assert writer.bucket_records(head(1).ds) == [history(head(1, "r", generation=2))]
    assert writer.bucket_record(0, head(2).ds) == history(head(2, "r", generation=2))


def test_a_restatement_with_equal_values_moves_once(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    assert move(writer, head(0), head(0, generation=2))
    assert not move(writer, head(0), head(0, generation=2))
    assert writer.head(0) == head(0, generation=2)


def test_head_and_history_are_written_together(writer: LedgerWriter) -> None:
    move(writer, None, head(0))
    with pytest.raises(Exception, match="not JSON serializable"):
        writer.move_head(head(0), head(1), history(head(1), counts={"users": object()}))
    assert writer.head(0) == head(0)
    assert move(writer, head(0), head(1))


@pytest.mark.parametrize("changes", [{"bucket": 1}, {"ds": date(2025, 1, 1)}, {"generation": 2}, {"digest": "z"}])
def test_history_must_describe_the_head(writer: LedgerWriter, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not describe"):
        writer.move_head(None, head(0), history(head(0), **changes))
    assert writer.head(0) is None


def contend(num: int, attempt: Callable[[int], Any]) -> list[Any]:
    """Results of `num` attempts that start at the same moment; an error is a result, too."""
    barrier = Barrier(num)

    def run(contender: int) -> Any:
        barrier.wait()
        try:
            return attempt(contender)
        except (ConcurrentUpdateError, WindowOrderError) as error:
            return type(error)

    with ThreadPoolExecutor(num) as pool:
        return list(pool.map(run, range(num)))


@pytest.mark.parametrize("previous", [None, head(0)], ids=["first-day", "next-day"])
def test_one_of_eight_contenders_moves_the_head(writer: LedgerWriter, ledger_url: str, previous: Head | None) -> None:
    if previous:
        move(writer, None, previous)
    for round_ in range(5):
        new = replace(head(1), digest=f"d{round_}") if round_ == 0 else head(round_ + 1, f"d{round_}")
        results = contend(
            NUM_CONTENDERS, lambda _, previous=previous, new=new: move(open_writer(ledger_url), previous, new)
        )
        assert Counter(results) == {True: 1, False: NUM_CONTENDERS - 1}
        previous = new
    assert writer.head(0) == previous
    assert writer.bucket_record(0, previous.ds) == history(previous)


def test_contenders_with_other_values_or_a_gap_are_refused(writer: LedgerWriter, ledger_url: str) -> None:
    move(writer, None, head(0))
    new = [head(1, "b")] * 3 + [head(1, "c")] * 3 + [head(2, "b")] * 2
    results = contend(NUM_CONTENDERS, lambda contender: move(open_writer(ledger_url), head(0), new[contender]))
    same, other = (results[:3], results[3:6]) if True in results[:3] else (results[3:6], results[:3])
    assert Counter(same) == {True: 1, False: 2}
    assert other == [HeadConflictError] * 3
    assert results[6:] == [WindowOrderError] * 2


CONTENDER = """
import sys
from datetime import UTC, date, datetime
from updater.errors import UpdaterError
from updater.ledger import BucketRecord, Head, open_writer

url, day, digest = sys.argv[1:]
writer = open_writer(url)
work = dict(bucket=0, ds=date.fromisoformat(day), generation=1, digest=digest)
new = Head(model_version=1, scenarios={}, modalities={}, **work)
record = BucketRecord(counts={}, files=[], committed_at=datetime.now(UTC), **work)
previous = writer.head(0)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(writer.move_head(previous, new, record))
except UpdaterError as error:
    print(type(error).__name__)
"""


def test_one_of_eight_processes_moves_the_head(writer: LedgerWriter, ledger_url: str) -> None:
    move(writer, None, head(0))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, ledger_url, "2026-01-02", "b"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(NUM_CONTENDERS)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in outputs] == [""] * NUM_CONTENDERS
    assert Counter(out.strip() for out, _ in outputs) == {"True": 1, "False": NUM_CONTENDERS - 1}
    assert writer.head(0) == replace(head(1, "b"), scenarios={}, modalities={})
