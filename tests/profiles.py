"""Profiles written by hand, for tests of what is said about them."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from updater.domain.declared.modality import Modality
from updater.training.useru.facts.events import Event, Future, Profile

ZONE = ZoneInfo("Europe/Berlin")
ANCHOR = date(2024, 5, 31)
DAYS = 90
MODALITIES = (
    Modality(name="bill", text="{category}", numeric=("amount",), category="category"),
    Modality(name="page_view", text="{page}"),
    Modality(name="card", kind="snapshot", text="{kind} card"),
)
VOCABULARY = frozenset({"dairy", "fuel", "books", "bakery", "2% milk", "wine"})


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE)


def event(modality: str = "bill", days_ago: int = 0, hour: int = 12, **fields: Any) -> Event:
    """An event so many days before ANCHOR; `amount` is its number."""
    amount = fields.pop("amount", None)
    day = ANCHOR - timedelta(days=days_ago)
    time = midnight(day) + timedelta(hours=hour)
    numbers = {} if amount is None else {"amount": float(amount)}
    made = {"event_id": "e", "time": time, "landed": day, "numbers": numbers, **fields}
    return Event(modality=modality, **made)


def profile(events: Iterable[Event], user_id: str = "u") -> Profile:
    named = [
        event if event.event_id != "e" else Event(**{**vars(event), "event_id": str(n)})
        for n, event in enumerate(events)
    ]
    start, end = midnight(ANCHOR - timedelta(days=DAYS - 1)), midnight(ANCHOR + timedelta(days=1))
    return Profile(user_id=user_id, anchor=ANCHOR, start=start, end=end, events=tuple(named))


def future(events: Iterable[Event] = (), days: int = 28) -> Future:
    first = ANCHOR + timedelta(days=1)
    return Future(start=midnight(first), end=midnight(first + timedelta(days=days)), events=tuple(events))


SHOPPER = profile(
    [
        event(days_ago=60, category="dairy", amount=10),
        event(days_ago=59, category="wine", amount=30),
        event(days_ago=20, category="dairy", amount=12.5, hour=18),
        event(days_ago=20, category="dairy", amount=7.5, hour=19),
        event(days_ago=3, category="2% milk", amount=4, hour=20),
        event("page_view", days_ago=2, hour=9),
        event("card", days_ago=200, is_state=True, text="gold card since 1999"),
    ]
)
