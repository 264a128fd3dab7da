"""Statistics of texts and columns of users, against loops over plain events."""

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from tests.model_factories import make_batch, make_config
from updater.model.batch import UserBatch
from updater.model.layouts.text_statistics import amounts, user_texts
from updater.model.layouts.user_columns import num_columns, periods, user_columns

CONFIG = make_config()
BATCH = make_batch(CONFIG, seed=3, num_users=9)

Event = tuple[int, float, int, float]
"""Modality, local time, text, amount."""


def events_of(batch: UserBatch, user: int) -> list[Event]:
    """The user's events in streams."""
    found = []
    for m, part in enumerate(batch.modalities[:2]):
        for row in range(*part.offsets_B1[user : user + 2]):
            found.append((m, part.local_A[row], int(part.text_rows_A[row]), float(amounts(part)[row])))
    return found


def ages(events: list[Event], among: list[Event]) -> list[int]:
    """Days before the newest of `among`, newest first, each once."""
    newest = max(int(event[1] // 86_400) for event in among)
    return sorted({newest - int(event[1] // 86_400) for event in events})


def gaps(found: list[int]) -> list[float]:
    """Mean, deviation, largest and last of the days between neighbouring days, as logarithms."""
    between = np.diff(found)
    return np.log1p([between.mean(), between.std(), between.max(), between[0]]).tolist() if len(between) else [0.0] * 4


def test_statistics_of_texts() -> None:
    texts = user_texts(CONFIG, BATCH)
    starts = np.cumsum([0, *(len(part.texts_TX) for part in BATCH.modalities)])
    for user in range(BATCH.num_users):
        events = events_of(BATCH, user)
        expected = {}
        for m, text in {(event[0], event[2]) for event in events}:
            own = [event for event in events if (event[0], event[2]) == (m, text)]
            days = ages(own, events)
            decayed = [sum(0.5 ** (age / half_life) for age in days) for half_life in (7, 21, 60)]
            gap = (days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else 0.0
            expected[m, starts[m] + text] = [len(days), len(own), *decayed, days[0], sum(e[3] for e in own), gap]
        rows = range(*texts.offsets_B1[user : user + 2])
        found = {(texts.modality_T[row], texts.row_T[row]): texts.statistics_TK[row] for row in rows}
        assert found.keys() == expected.keys()
        for key, values in found.items():
            np.testing.assert_allclose(values, expected[key], rtol=1e-12)
        assert np.all(np.diff(texts.statistics_TK[rows, 3]) >= 0)


def test_the_last_texts_become_tokens() -> None:
    texts = user_texts(CONFIG, BATCH)
    newest = texts.newest(2)
    expected = [row for start, end in pairwise(texts.offsets_B1.tolist()) for row in range(start, end)[-2:]]
    assert newest.tolist() == expected


def test_columns_of_users() -> None:
    found = user_columns(CONFIG, BATCH)
    assert found.shape == (BATCH.num_users, num_columns(CONFIG))
    for user in range(BATCH.num_users):
        np.testing.assert_allclose(found[user], the_long_way(user), rtol=1e-9, atol=1e-12)


def the_long_way(user: int) -> list[float]:
    """The columns of a user, event by event."""
    events = events_of(BATCH, user)
    newest = max((int(event[1] // 86_400) for event in events), default=0)
    columns: list[float] = []
    for m, part in enumerate(BATCH.modalities):
        numeric = part.numeric_AC[slice(*part.offsets_B1[user : user + 2])]
        recent = numeric
        if m == 2:
            columns.append(np.log1p(len(numeric)))
        else:
            own = [event for event in events if event[0] == m]
            age = [newest - int(event[1] // 86_400) for event in own]
            recent = numeric[[a < 28 for a in age]]
            for days in periods(CONFIG):
                within = [event for event, a in zip(own, age, strict=True) if a < days]
                columns += np.log1p(
                    [len(within), len({e[1] // 86_400 for e in within}), sum(e[3] for e in within)]
                ).tolist()
            columns.append(np.log1p(min(age, default=CONFIG.buffer_days)))
            weekdays = Counter((int(day) + 3) % 7 for day in {event[1] // 86_400 for event in own})
            parts = Counter(part for _, part in {(e[1] // 86_400, int(e[1] % 86_400 // 21_600)) for e in own})
            columns += np.log1p([*(weekdays[d] for d in range(7)), *(parts[p] for p in range(4))]).tolist()
            columns += gaps(sorted(set(age)))
            kinds = Counter(event[2] for event in own)
            days_of = defaultdict(set)
            for event in own:
                days_of[event[2]].add(event[1] // 86_400)
            columns += np.log1p([len(kinds), sum(len(days) > 1 for days in days_of.values())]).tolist()
            columns.append(max(kinds.values(), default=0) / max(len(own), 1))
        for values in (numeric, recent):
            columns += (values.mean(axis=0) if len(values) else np.zeros(numeric.shape[1])).tolist()
    every = [newest - int(event[1] // 86_400) for event in events]
    for when in (every, sorted(set(every))):
        weeks = np.log1p([sum(age // 7 == week for age in when) for week in range(13)])
        columns += [*weeks.tolist(), weeks.std()]
    return [*columns, *gaps(sorted(set(every)))]


@pytest.mark.parametrize("days", [3, 7, 8, 90])
def test_periods_end_with_the_buffer(days: int) -> None:
    found = periods(make_config(buffer_days=days))
    assert found[-1] == days
    assert all(a < b for a, b in pairwise(found))


def test_a_user_is_read_alike_in_any_company() -> None:
    together = user_columns(CONFIG, BATCH)
    texts = user_texts(CONFIG, BATCH)
    for user in range(BATCH.num_users):
        alone = BATCH.select([user])
        np.testing.assert_array_equal(user_columns(CONFIG, alone)[0], together[user])
        rows = slice(*texts.offsets_B1[user : user + 2])
        np.testing.assert_array_equal(user_texts(CONFIG, alone).statistics_TK, texts.statistics_TK[rows])
        np.testing.assert_array_equal(user_texts(CONFIG, alone).row_T, texts.row_T[rows])


def test_nothing_moves_while_nothing_happens() -> None:
    later = UserBatch(tuple(type(p)(**{**vars(p), "local_A": p.local_A + 28 * 86_400}) for p in BATCH.modalities))
    np.testing.assert_array_equal(user_columns(CONFIG, later), user_columns(CONFIG, BATCH))
    np.testing.assert_array_equal(user_texts(CONFIG, later).statistics_TK, user_texts(CONFIG, BATCH).statistics_TK)
