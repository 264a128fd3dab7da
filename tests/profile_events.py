"""Events of users for tests of the textual profile, and profiles of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import clean
from updater.profile.facets import NEVER, CountedEvents
from updater.profile.profile import Profiles, write_profiles

Events = Mapping[str, Sequence[tuple[datetime | None, str]]]
"""Per modality the times and values of a user's events; without times the modality is a state."""

NEWEST = datetime(2024, 3, 31, 12, tzinfo=UTC)


def ago(*days: float) -> list[datetime]:
    return [NEWEST - timedelta(days=back) for back in days]


def events(**days: list[float]) -> list[tuple[datetime | None, str]]:
    return [(time, value.replace("_", " ")) for value, back in days.items() for time in ago(*back)]


GOLDEN: Events = {
    "item": events(
        milk=[0, 5, 20, 40, 60],  # long-term: weights 1 + .89 + .63 + .40 + .25, and half of the recent weight
        baby_food=[1, 2],  # too new to weigh much in the long term of a 60 % rule, but recent
        cigarettes=[50, 60, 70],  # not within the long half-life of 30 days
        tea=[3],  # once only
    ),
    "app": [(None, "Maps"), (None, "Chat"), (None, "Chat")],
}


def count(users: Sequence[Events], modality: str, is_state: bool = False) -> CountedEvents:
    """The events of users in a modality, as the state's reader lays them out."""
    rows = [
        (user, -1 if time is None else round(time.timestamp() * 1e6), clean(value))
        for user, events in enumerate(users)
        for time, value in sorted(events.get(modality, ()), key=lambda event: (event[0] is not None, event[0]))
        if clean(value)
    ]
    values = sorted({value for _, _, value in rows})
    return CountedEvents(
        modality=modality,
        is_state=is_state,
        values=values,
        num_users=len(users),
        user_N=np.array([user for user, _, _ in rows], np.int64),
        value_N=np.array([values.index(value) for _, _, value in rows], np.int64),
        time_N=np.array([0 if is_state else time for _, time, _ in rows], np.int64),
    )


def write(users: Sequence[Events], choice: ProfileChoice | None = None, states: Sequence[str] = ()) -> Profiles:
    """Profiles of users; `states` are the modalities without times."""
    names = list(dict.fromkeys(name for events in users for name in events))
    times = [[time for events in user.values() for time, _ in events if time is not None] for user in users]
    newest = [round(max(own).timestamp() * 1e6) if own else NEVER for own in times]
    num_events = [sum(map(len, user.values())) for user in users]
    counted = [count(users, name, name in states) for name in names]
    return write_profiles(counted, np.array(newest), np.array(num_events), choice or ProfileChoice())
