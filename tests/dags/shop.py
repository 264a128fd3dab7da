"""A small shop: a lake of four days, and a deployment that is to process them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.deployment import Deployment
from tests.factories import land_rows
from tests.strategies import COLUMNS

DAYS = [date(2024, 3, 28) + timedelta(days=number) for number in range(4)]
USERS = [f"user {number}" for number in range(9)]
WORDS = ("milk", "bread", "tea", "rice")
Make = Callable[[str], Deployment]


def land(lake: str, ds: date) -> None:
    """New events of some users, a late one, a deletion; nothing to encode on the last day."""
    number = DAYS.index(ds)
    noon = datetime(ds.year, ds.month, ds.day, 12, tzinfo=UTC)
    word = WORDS[min(number, 2)]
    bills = [event(user, f"b{number}", noon, word, float(number)) for user in USERS[number : number + 4]]
    if number:
        bills.append(event(USERS[0], "late", noon - timedelta(days=1), word, 2.5))
        bills.append(event(USERS[number], f"b{number - 1}", noon - timedelta(days=1), word, 0.0) | {"op": "delete"})
    land_rows(lake, "bill", ds, bills, columns=COLUMNS)
    land_rows(lake, "search", ds, [event(USERS[5], f"s{number}", noon, word)] if number < 3 else [], columns=COLUMNS)
    if number == 1:
        land_rows(lake, "app", ds, [event(USERS[7], "a", noon, "chat"), event(USERS[8], "a", noon, "maps")])


def event(user: str, event_id: str, at: datetime, word: str, amount: float = 0.0) -> dict[str, Any]:
    return {"user_id": user, "event_id": event_id, "event_time": at, "word": word, "amount": amount}


def online(made: Deployment) -> dict[str, list[Any]]:
    from updater import store

    features = ["lapse_v1:lapse_embedding", "takeout_v1:takeout_as_of", "modality_summaries:bill_num_events"]
    features += ["user_text_profile_v1:profile_text"]
    return store.online_rows(store.open_store(made.settings), USERS, features)
