"""What happens to a deployment, step by step, made from a seed: days that land and run, days that are rewritten and
restated, erasures and maintenance in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.strategies import AMOUNTS, USERS, WORDS, History, Row, histories

MAX_DAYS = 7
DRAWS = 6
"""Histories that Hypothesis makes of a seed, of which the richest is taken: the first ones are nearly empty."""
RESTATED, ERASED, MAINTAINED = 0.25, 0.12, 0.2
"""How often a window is followed by each."""
RESTATED_BACK = 3
"""A rewritten day is at most so many days old; the buffer of a stream holds no more."""
START = datetime(2024, 6, 1, tzinfo=UTC)
STEP = timedelta(days=2)
"""The clock advances between steps by more than the grace period of files that maintenance retires."""


@dataclass(frozen=True)
class Landing:
    """A modality's day, as it lands."""

    modality: str
    ds: date
    rows: tuple[Row, ...]
    torn: float = 1.0
    """Share of the file's bytes that is there; less than 1 is a file that somebody stopped writing."""


@dataclass(frozen=True)
class Step:
    """One command, and what lands before it."""

    verb: str
    """`run`, `restate`, `erase` or `maintain`."""
    ds: date
    """The window that is run, or the newest one."""
    now: datetime
    landings: tuple[Landing, ...] = ()
    user_id: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.user_id or self.ds}"


@dataclass(frozen=True)
class Script:
    """A history and what is done with it."""

    seed: int
    timezone: str
    first_day: date
    history_days: int
    """`[retention] history_days`; 0 keeps everything."""
    steps: tuple[Step, ...]


def make_script(number: int) -> Script:
    """The script of a seed."""
    history, random = draw_history(number), Random(f"script {number}")
    steps: list[Step] = []
    landed = 0
    lake = {
        (ds, name): rows for ds, day in zip(history.days, history.landings, strict=True) for name, rows in day.items()
    }

    def add(verb: str, ds: date, landings: Sequence[Landing] = (), user_id: str = "") -> None:
        steps.append(Step(verb, ds, START + len(steps) * STEP, tuple(landings), user_id))

    for ds in history.windows:
        new = [day for day in history.days if day <= ds][landed:]
        landed += len(new)
        landings = [Landing(name, day, rows) for (day, name), rows in lake.items() if day in new and rows is not None]
        add("run", ds, landings)
        if random.random() < RESTATED:
            day = random.choice([day for day in history.days if ds - timedelta(RESTATED_BACK) < day <= ds])
            name = random.choice(["bill", "search", "app"])
            lake[day, name] = _rewritten(random, lake[day, name] or (), day)
            add("restate", ds, [Landing(name, day, lake[day, name] or ())])
        if random.random() < ERASED:
            add("erase", ds, user_id=random.choice(USERS))
        if random.random() < MAINTAINED:
            add("maintain", ds)
    return Script(number, history.timezone, history.days[0], random.choice([0, 1]), tuple(steps))


def draw_history(number: int) -> History:
    """A history by the strategies of the property tests, the same for the same seed."""
    drawn: list[History] = []

    @seed(number)
    @settings(
        max_examples=DRAWS,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories(MAX_DAYS))
    def draw(history: History) -> None:
        drawn.append(history)

    draw()
    return max(drawn, key=lambda history: sum(len(rows or ()) for day in history.landings for rows in day.values()))


def _rewritten(random: Random, rows: Sequence[Row], day: date) -> tuple[Row, ...]:
    """Some rows as they were, some gone, some with other values, and perhaps one of somebody who was not there."""
    kept: list[Row] = []
    for row in rows:
        what = random.choice(["same", "gone", "other"])
        if what != "gone":
            other = replace(row, word=random.choice(WORDS), amount=random.choice(AMOUNTS), deleted=False)
            kept.append(other if what == "other" else row)
    if random.random() < 0.5:
        # The middle of the day lies in it in every timezone of the histories.
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        kept.append(Row(random.choice(USERS), "d", noon, random.choice(WORDS), random.choice(AMOUNTS)))
    return tuple(kept)
