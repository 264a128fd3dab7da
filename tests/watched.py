"""A deployment to watch: thirty users of whom half change on a day, and a modality that fell silent."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.deployment import Deployment
from tests.factories import land_rows
from tests.strategies import COLUMNS
from updater.domain.declared.alerts import AlertThresholds
from updater.runtime.deployment import Context, open_context

DAYS = [date(2024, 3, 1) + timedelta(days=number) for number in range(6)]
USERS = [f"user {number}" for number in range(30)]
WORDS = ("milk", "bread", "tea")
AS_OF = datetime(2024, 3, 7, tzinfo=UTC)


def land(lake: str, ds: date, users: list[str] | None = None, bad_rows: int = 0) -> None:
    """Land a day on which `users` (by default half of them) bought something; `search` is silent after the first."""
    number = (ds - DAYS[0]).days
    noon = datetime(ds.year, ds.month, ds.day, 12, tzinfo=UTC)
    if users is None:
        users = USERS if number == 0 else USERS[number % 2 :: 2]
    word = WORDS[number % 3]
    bills = [_event(user, f"b{number}", noon, word, float(number)) for user in users]
    bills += [_event(None, f"bad {row}", noon, word) for row in range(bad_rows)]
    land_rows(lake, "bill", ds, bills, columns=COLUMNS)
    land_rows(lake, "search", ds, [] if number else [_event(USERS[0], "s", noon, word)], columns=COLUMNS)


def _event(user: str | None, event_id: str, at: datetime, word: str, amount: float = 0.0) -> dict[str, Any]:
    return {"user_id": user, "event_id": event_id, "event_time": at, "word": word, "amount": amount}


def watched(root: Path, **overrides: Any) -> Deployment:
    """A deployment whose days have landed and run."""
    made = Deployment.create(
        root, buffer={"days": 30, "num_buckets": 2}, limits={"max_rejected_share": 0.5}, **overrides
    )
    for ds in DAYS:
        land(made.lake, ds)
    made.run(DAYS)
    return made


def context(made: Deployment, hours: float = 1.0, **thresholds: float) -> Context:
    """A context some hours after the newest window's end, with other thresholds."""
    settings = replace(made.settings, alerts=AlertThresholds(**thresholds))
    return open_context(settings, made.context.window(made.context.ledger.watermark()).as_of + timedelta(hours=hours))
