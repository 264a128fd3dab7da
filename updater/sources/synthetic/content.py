"""The columns of made-up events and snapshots."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa

from updater.sources.synthetic import vocabulary as words
from updater.sources.synthetic.random_bits import Bits, Ints, below, long_tail, random_bits, uniform
from updater.sources.synthetic.schedule import Arrival, Events
from updater.sources.synthetic.spec import SyntheticSpec
from updater.sources.synthetic.vocabulary import vocabulary

_DAY_MICROSECONDS = 86_400_000_000
_NUM_FAVOURITES = 5
_HABIT = 0.7
"""Share of events that go to one of the user's favourites."""
_APP_LIFE_DAYS = 45
"""After so many days a place in a user's app list may hold another app."""

# First part of a key; `schedule` uses the numbers below 100.
_TIME, _VERSION, _HABITUAL, _SLOT, _FAVOURITE, _CHOICE, _AMOUNT, _SECOND, _APPS, _APP, _PROFILE = range(100, 111)


def stream_rows(spec: SyntheticSpec, stream: str, arrival: Arrival, events: Events) -> pa.Table:
    """Rows of one stream that arrive in one way. A deletion names its event and nothing else."""
    version = 1 if arrival == "replacement" else 0
    content = random_bits(_VERSION, version, events.bits)
    columns = _STREAM_COLUMNS[stream](spec, events.user, content)
    if arrival == "deletion":
        columns = {name: pa.nulls(len(events.user), values.type) for name, values in columns.items()}
    ds = spec.first_day + timedelta(days=events.day)
    event_ids = pa.array([f"{ds:%Y%m%d}-{n}" for n in range(int(events.number.max(initial=-1)) + 1)], pa.string())
    op = "delete" if arrival == "deletion" else "upsert"
    keys = {
        "user_id": _user_ids(spec.num_users).take(pa.array(events.user)),
        "event_id": event_ids.take(pa.array(events.number)),
        "event_time": _instants(spec, events.day, random_bits(_TIME, events.bits)),
        "op": pa.array([op]).take(pa.array(np.zeros(len(events.user), np.int64))),
    }
    return pa.table({**keys, **columns})


def app_rows(spec: SyntheticSpec, day: int, users: Ints) -> pa.Table:
    """The whole app lists of `users` on a day: 8 to 24 places each, of which equal ones are one row."""
    num = 8 + below(random_bits(_APPS, spec.seed, users), 17)
    user = np.repeat(users, num)
    place = np.arange(len(user)) - np.repeat(np.cumsum(num) - num, num)
    since = (day + 5 * place) // _APP_LIFE_DAYS
    app = long_tail(random_bits(_APP, spec.seed, user, place, since), words.NUM_APPS)
    user, app = np.divmod(np.unique(user * words.NUM_APPS + app), words.NUM_APPS)
    keys = _snapshot_keys(spec, day, user, _take("app_id", app))
    return pa.table({**keys, "app": _take("app", app), "kind": _take("kind", app)})


def tabular_rows(spec: SyntheticSpec, day: int, users: Ints) -> pa.Table:
    """One profile row for each of `users`; only the tenure changes with the day, once a month."""

    def trait(number: int) -> Bits:
        return random_bits(_PROFILE, number, spec.seed, users)

    columns = {
        "age_band": _take("age_band", below(trait(0), 6)),
        "city_tier": _take("city_tier", below(trait(1), 4)),
        "occupation": _take("occupation", below(trait(2), 20)),
        "tenure_months": pa.array(below(trait(3), 120) + day // 30),
        "num_cards": pa.array(long_tail(trait(4), 8)),
        "credit_limit": pa.array((1 + long_tail(trait(5), 100)) * 500.0),
    }
    profile = pa.array(["profile"]).take(pa.array(np.zeros(len(users), np.int64)))
    return pa.table({**_snapshot_keys(spec, day, users, profile), **columns})


def _bill(spec: SyntheticSpec, user: Ints, content: Bits) -> dict[str, pa.Array]:
    merchant = _choice(spec, 0, user, content, words.NUM_MERCHANTS)
    u = uniform(random_bits(_AMOUNT, content))
    cents = 100 + (u * u * u * 20_000).astype(np.int64) * (1 + merchant % 7)
    return {
        "category": _take("merchant_category", merchant),
        "merchant": _take("merchant", merchant),
        "amount": pa.array(cents / 100),
    }


def _mini(spec: SyntheticSpec, user: Ints, content: Bits) -> dict[str, pa.Array]:
    program = _choice(spec, 1, user, content, words.NUM_PROGRAMS)
    action = long_tail(random_bits(_SECOND, content), words.NUM_ACTIONS)
    return {"program": _take("program", program), "action": _take("action", action)}


def _spm(spec: SyntheticSpec, user: Ints, content: Bits) -> dict[str, pa.Array]:
    page = _choice(spec, 2, user, content, words.NUM_PAGES)
    block = long_tail(random_bits(_SECOND, content), words.NUM_BLOCKS)
    return {"page": _take("page", page), "block": _take("block", block)}


def _search(spec: SyntheticSpec, user: Ints, content: Bits) -> dict[str, pa.Array]:
    query = _choice(spec, 3, user, content, words.NUM_QUERIES)
    return {"query": _take("query", query), "topic": _take("topic", query)}


_STREAM_COLUMNS: dict[str, Callable[[SyntheticSpec, Ints, Bits], dict[str, pa.Array]]] = {
    "bill": _bill,
    "mini": _mini,
    "spm": _spm,
    "search": _search,
}


def _choice(spec: SyntheticSpec, stream: int, user: Ints, content: Bits, bound: int) -> Ints:
    """Numbers below `bound`, mostly among the user's favourites."""
    slot = below(random_bits(_SLOT, content), _NUM_FAVOURITES)
    favourite = long_tail(random_bits(_FAVOURITE, spec.seed, stream, user, slot), bound)
    other = long_tail(random_bits(_CHOICE, content), bound)
    return np.where(uniform(random_bits(_HABITUAL, content)) < _HABIT, favourite, other)


def _snapshot_keys(spec: SyntheticSpec, day: int, user: Ints, event_id: pa.Array) -> dict[str, pa.Array]:
    return {
        "user_id": _user_ids(spec.num_users).take(pa.array(user)),
        "event_id": event_id,
        "event_time": _instants(spec, day, random_bits(_TIME, spec.seed, day, user)),
    }


def _instants(spec: SyntheticSpec, day: int, bits: Bits) -> pa.Array:
    midnight = datetime.combine(spec.first_day + timedelta(days=day), time(), UTC)
    start = int(midnight.timestamp()) * 1_000_000
    return pa.array(start + below(bits, _DAY_MICROSECONDS)).cast(pa.timestamp("us", "UTC"))


def _take(column: str, numbers: Ints) -> pa.Array:
    return vocabulary()[column].take(pa.array(numbers))


@lru_cache(maxsize=4)
def _user_ids(num_users: int) -> pa.Array:
    return pa.array([f"u{n:07d}" for n in range(num_users)])
