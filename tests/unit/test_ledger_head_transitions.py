"""Which head may follow which, as truth tables; no database."""

from dataclasses import replace
from datetime import date

import pytest

from updater.errors import ConcurrentUpdateError, HeadConflictError, WindowOrderError
from updater.ledger.head_transitions import conflict_error, is_successor
from updater.ledger.records import Head


def head(day: int, digest: str = "a" * 64, generation: int = 1) -> Head:
    return Head(
        bucket=3,
        ds=date(2026, 1, day),
        digest=digest,
        generation=generation,
        model_version=1,
        scenarios={},
        modalities={},
    )


@pytest.mark.parametrize(
    ("previous", "new", "allowed"),
    [
        (None, head(5), True),
        (head(4), head(5), True),
        (head(4, generation=2), head(5, generation=2), True),
        (head(4), head(4), False),
        (head(4), head(3), False),
        (head(4), head(6), False),
        (head(4, generation=2), head(5, generation=1), False),
        (head(4), head(4, generation=2), True),
        (head(4), head(1, generation=2), True),
        (head(4), head(5, generation=2), True),
        (head(4), head(6, generation=2), False),
    ],
)
def test_a_head_moves_to_the_next_day_or_restates(previous: Head | None, new: Head, allowed: bool) -> None:
    assert is_successor(previous, new) is allowed


def test_the_day_after_the_last_of_february() -> None:
    assert is_successor(replace(head(1), ds=date(2024, 2, 29)), replace(head(1), ds=date(2024, 3, 1)))
    assert not is_successor(replace(head(1), ds=date(2024, 2, 28)), replace(head(1), ds=date(2024, 3, 1)))


@pytest.mark.parametrize(
    ("stored", "previous", "new", "error", "message"),
    [
        pytest.param(
            head(3),
            head(5),
            head(6),
            WindowOrderError,
            "Bucket 3 is at 2026-01-03, and 2026-01-06 does not follow from it; "
            "run `updater backfill --from-date 2026-01-04 --to-date 2026-01-06`.",
            id="gap",
        ),
        pytest.param(
            head(3),
            None,
            head(4),
            WindowOrderError,
            "Bucket 3 is at 2026-01-03, and 2026-01-04 does not follow from it; "
            "run `updater backfill --from-date 2026-01-04 --to-date 2026-01-04`.",
            id="computed-from-nothing",
        ),
        pytest.param(
            head(9),
            head(9),
            head(5),
            WindowOrderError,
            "Bucket 3 is at 2026-01-09, and 2026-01-05 is older; "
            "to republish it run `updater backfill --from-date 2026-01-05 --to-date 2026-01-09 --restate`.",
            id="older",
        ),
        pytest.param(
            head(9),
            head(4),
            head(5),
            ConcurrentUpdateError,
            "Bucket 3 moved on to 2026-01-09 while 2026-01-05 was computed; run the same command again, which leaves "
            "published days as they are.",
            id="superseded",
        ),
        pytest.param(
            None,
            head(4),
            head(5),
            WindowOrderError,
            "Bucket 3 has published nothing, so 2026-01-05 does not follow; "
            "run `updater backfill --from-date 2026-01-04 --to-date 2026-01-05`.",
            id="no-head",
        ),
        pytest.param(
            head(5, "b" * 64),
            head(4),
            head(5, "c" * 64),
            HeadConflictError,
            "Bucket 3 has published other values for 2026-01-05 (digest bbbbbbbbbbbb, not cccccccccccc); run the "
            "same command again to keep them, "
            "or replace them with `updater backfill --from-date 2026-01-05 --to-date 2026-01-05 --restate`.",
            id="other-values",
        ),
        pytest.param(
            head(4, "b" * 64, generation=2),
            head(4),
            head(5),
            HeadConflictError,
            "Bucket 3 has published other values for 2026-01-04 (digest bbbbbbbbbbbb, not aaaaaaaaaaaa) "
            "than 2026-01-05 was computed from; run the same command again.",
            id="restated-meanwhile",
        ),
    ],
)
def test_a_refusal_names_the_days_and_the_way_out(
    stored: Head | None, previous: Head | None, new: Head, error: type[Exception], message: str
) -> None:
    refused = conflict_error(stored, previous, new)
    assert type(refused) is error
    assert str(refused) == message
