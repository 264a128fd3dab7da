"""Days of the population, in the lake contract: every row lands on the day on which it happened."""

from datetime import UTC, date, datetime, time
from functools import partial

import numpy as np
import pyarrow as pa

from updater.domain.window import days
from updater.errors import ConfigError
from updater.sources.landing import Progress, land_days
from updater.sources.population.behaviour import Behaviour, behaviour, categories, mailed, second_of_day
from updater.sources.population.spec import MODALITIES, PopulationSpec
from updater.sources.population.vocabulary import ANSWER, MAILING, NEEDS, STEPS, VISIT
from updater.sources.synthetic.random_bits import Ints


def land(
    lake: str,
    spec: PopulationSpec,
    from_date: date | None = None,
    to_date: date | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Land the days from `from_date` to `to_date`, both inclusive, and return the rows per modality.

    Without dates the whole history lands. Landing a day again writes the same bytes, whatever landed before it.

    Raises:
        ConfigError: the range leaves the history.
    """
    first, last = from_date or spec.first_day, to_date or spec.last_day
    if not spec.first_day <= first <= last <= spec.last_day:
        raise ConfigError(
            f"the population's history cannot be landed from {first} to {last}; choose days in order, "
            f"from {spec.first_day} to {spec.last_day}."
        )
    return land_days(lake, MODALITIES, days(first, last), partial(rows_of_day, spec), progress)


def rows_of_day(spec: PopulationSpec, ds: date) -> dict[str, pa.Table]:
    """What lands on `ds`, by modality: user_id, event_id, event_time and the text column `what`."""
    day = (ds - spec.first_day).days
    happened = {modality: _happened(spec, behaviour(spec), day, modality) for modality in MODALITIES}
    return {modality: _table(spec, number, day, *happened[modality]) for number, modality in enumerate(MODALITIES)}


def user_ids(spec: PopulationSpec) -> list[str]:
    """The users' ids in the order of arrays."""
    return [f"p{number:07d}" for number in range(spec.num_users)]


def _happened(spec: PopulationSpec, all_days: Behaviour, day: int, modality: str) -> tuple[Ints, Ints, list[str]]:
    """Users, numbers of texts, and the texts."""
    if modality == "purchase":
        need, user = np.nonzero(all_days.fed[day])
        first = np.cumsum([0, *(len(words) for words in NEEDS.values())])[need]
        texts = [text for words in NEEDS.values() for text in words]
        return user, first + categories(spec, day, need, user), texts
    if modality == "step":
        chain, step, user = np.nonzero(all_days.steps[day])
        return user, 3 * chain + step, [text for chain_of_steps in STEPS for text in chain_of_steps]
    if modality == "mailing":
        users = np.arange(spec.num_users if mailed(spec, day) else 0)
        return users, np.zeros_like(users), [MAILING]
    visit = modality == "visit"
    (users,) = np.nonzero(all_days.visits[day] if visit else all_days.answers[day])
    return users, np.zeros_like(users), [VISIT if visit else ANSWER]


def _table(spec: PopulationSpec, modality: int, day: int, user: Ints, text: Ints, texts: list[str]) -> pa.Table:
    by_user = np.lexsort((text, user))
    user, text = user[by_user], text[by_user]
    midnight = int(datetime.combine(spec.first_day, time(), UTC).timestamp()) + 86_400 * day
    if MODALITIES[modality] == "mailing":
        seconds = np.zeros_like(user)  # sent at midnight, so that an answer on the same day comes after it
    else:
        seconds = second_of_day(spec, modality, day, text, user)
    return pa.table(
        {
            "user_id": pa.array(user_ids(spec), pa.string()).take(pa.array(user)),
            "event_id": pa.array([f"{day}-{number}" for number in range(len(texts))], pa.string()).take(pa.array(text)),
            "event_time": pa.array((midnight + seconds) * 1_000_000).cast(pa.timestamp("us", "UTC")),
            "what": pa.array(texts, pa.string()).take(pa.array(text)),
        }
    )
