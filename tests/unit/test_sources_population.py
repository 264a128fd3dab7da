"""The population of known best scores: filters against enumeration, calibration, point in time, and the lake."""

import hashlib
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise, product

import numpy as np
import pyarrow.parquet as pq
import pytest

from updater.domain.window import day_window, days
from updater.errors import ConfigError
from updater.lake.partitions import has_landed
from updater.sources import population
from updater.sources.population import kinds
from updater.sources.population.order import Order
from updater.sources.population.renewal import Renewal, gamma_gaps
from updater.sources.population.response import Response
from updater.sources.population.vocabulary import NEEDS

SPEC = population.PopulationSpec(num_users=2000)
SMALL = population.PopulationSpec(num_users=50, num_days=40)
ANCHOR = 149

RENEWAL = Renewal(
    classes=np.array([0.3, 0.7]),
    switch=np.array([[0.8, 0.2], [0.5, 0.5]]),
    gaps=np.array([[[0.1, 0.6, 0.3], [0.5, 0.1, 0.4]], [[0.0, 0.3, 0.7], [0.2, 0.2, 0.6]]]),
)
ORDER = Order(
    step_chance=0.3, base=np.array([0.05, 0.08]), classes=np.array([0.4, 0.6]), factor=10.0, within=2, raised_days=2
)
RESPONSE = Response(interval=2, move=np.array([[0.7, 0.3], [0.4, 0.6]]), delays=np.array([[0.6, 0.1], [0.1, 0.4]]))


def windows(num_days, parts=1):
    """Every possible window as columns: shape (num_days, parts, 2 ** (num_days * parts))."""
    return np.array(list(product([False, True], repeat=num_days * parts))).T.reshape(num_days, parts, -1)


def conditional(paths, num_days):
    """P(an event after `num_days` | the days before), by window, from (days as a tuple, chance)."""
    seen, after = {}, {}
    for path, chance in paths:
        known = path[:num_days]
        seen[known] = seen.get(known, 0.0) + chance
        after[known] = after.get(known, 0.0) + chance * any(path[num_days:])
    return {known: after[known] / chance for known, chance in seen.items() if chance > 0}


def renewal_paths(num_days):
    """Every path, begun with a gap that has been under way for some days, as stationary gaps have."""
    events = np.array([5, 2]) / 7  # stationary modes of the chain [[.8, .2], [.5, .5]]
    for kind in range(2):
        mean = [sum((d + 1) * RENEWAL.gaps[kind, mode, d] for d in range(3)) for mode in range(2)]
        total = sum(events * mean)
        for mode, age, gap in product(range(2), range(3), range(1, 4)):
            if gap > age:  # the gap of this length is in its day age + 1 when the window begins
                chance = RENEWAL.classes[kind] * events[mode] * RENEWAL.gaps[kind, mode, gap - 1] / total
                yield from continued((), gap - age, kind, mode, chance, num_days)


def continued(path, wait, kind, mode, chance, num_days):
    if len(path) + wait > num_days:
        yield path + (False,) * (num_days - len(path)), chance
        return
    path = (*path, *(False,) * (wait - 1), True)
    for after, gap in product(range(2), range(1, 4)):
        more = chance * RENEWAL.switch[mode, after] * RENEWAL.gaps[kind, after, gap - 1]
        yield from continued(path, gap, kind, after, more, num_days)


def order_paths(past, num_days, future):
    """Every history of A, B and C, with `past` days of A and B before the window that nobody sees.

    Yields ((A, B, C of each day), whether C comes afterwards, chance).
    """
    p = ORDER.step_chance
    for ab in product(product([False, True], repeat=2), repeat=past + num_days + future):
        chance_ab = np.prod([(p if x else 1 - p) for pair in ab for x in pair])
        raised = []
        for day in range(past, len(ab) + 1):
            starts = [
                b_day
                for b_day in range(max(day - ORDER.raised_days, 0), day)
                if ab[b_day][1] and any(ab[a_day][0] for a_day in range(max(b_day - ORDER.within, 0), b_day))
            ]
            raised.append(bool(starts))
        for kind, c in product(range(2), product([False, True], repeat=num_days)):
            rate = [ORDER.base[kind] * (ORDER.factor if up else 1) for up in raised]
            chance = ORDER.classes[kind] * chance_ab
            chance *= np.prod([r if x else 1 - r for r, x in zip(rate, c, strict=False)])
            silent = np.prod([1 - r for r in rate[num_days:]])
            window = tuple((*pair, x) for pair, x in zip(ab[past : past + num_days], c, strict=True))
            yield window, 1 - silent, chance


def test_the_renewal_filter_is_the_enumeration():
    num_days, horizon = 5, 2
    expected = conditional(renewal_paths(num_days + horizon), num_days)
    observed = windows(num_days)[:, 0]
    possible = np.array([tuple(column) in expected for column in observed.T])
    assert 10 < possible.sum() < 32  # a gap has at most three days
    got = RENEWAL.next_within(observed[:, possible], horizon)
    np.testing.assert_allclose(got, [expected[tuple(column)] for column in observed[:, possible].T], rtol=1e-12)


def test_the_order_filter_is_the_enumeration():
    num_days, horizon = 2, 2
    seen, after = {}, {}
    for window, comes, chance in order_paths(ORDER.within + ORDER.raised_days, num_days, horizon - 1):
        seen[window] = seen.get(window, 0.0) + chance
        after[window] = after.get(window, 0.0) + chance * comes
    observed = windows(num_days, 3)
    expected = []
    for column in np.moveaxis(observed, 2, 0):
        window = tuple(tuple(day) for day in column.tolist())
        expected.append(after[window] / seen[window])
    np.testing.assert_allclose(ORDER.next_within(observed, horizon), expected, rtol=1e-12)
    assert np.ptp(expected) > 0.2


@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("num_days", [1, 2, 3])
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_response_filter_is_the_enumeration(start, num_days, horizon):
    first = start // 2 * 2
    mailings = range(first, start + num_days + horizon, 2)
    paths = []
    for modes in product(range(2), repeat=len(mailings)):
        for delays in product(range(3), repeat=len(mailings)):  # 2: no answer
            chance = [4 / 7, 3 / 7][modes[0]]
            chance *= np.prod([RESPONSE.move[a, b] for a, b in pairwise(modes)])
            path = [False] * (start + num_days + horizon)
            for sent, mode, delay in zip(mailings, modes, delays, strict=True):
                chance *= RESPONSE.delays[mode, delay] if delay < 2 else 1 - RESPONSE.delays[mode].sum()
                if delay < 2 and sent + delay < len(path):
                    path[sent + delay] = True
            paths.append((tuple(path[start:]), chance))
    expected = conditional(paths, num_days)
    observed = windows(num_days)[:, 0]
    possible = np.array([tuple(column) in expected for column in observed.T])
    got = RESPONSE.next_within(observed[:, possible], start, horizon)
    np.testing.assert_allclose(got, [expected[tuple(column)] for column in observed[:, possible].T], rtol=1e-12)


@pytest.mark.parametrize(
    "question", [q for q in population.questions() if q.number == 0], ids=lambda question: question.name
)
@pytest.mark.parametrize("history_days", [90, 25])
def test_best_scores_are_the_shares_that_come_true(question, history_days):
    lived = population.behaviour(SPEC)
    score = question.best_score(lived, ANCHOR, history_days)
    label = question.label(lived, ANCHOR)
    assert ((score >= 0) & (score <= 1)).all()
    for rows in np.array_split(np.argsort(score), 4):  # by quarters, so that a filter that is too bold shows
        expected, variance = score[rows].mean(), (score[rows] * (1 - score[rows])).sum() / len(rows) ** 2
        assert abs(label[rows].mean() - expected) < 4 * variance**0.5 + 1e-9


@pytest.mark.parametrize(
    "question", [q for q in population.questions() if q.number == 0], ids=lambda question: question.name
)
def test_nothing_after_the_anchor_or_before_the_history_is_read(question):
    lived = population.behaviour(SPEC)
    parts = {name: value.copy() for name, value in vars(lived).items()}
    for value in parts.values():
        value[ANCHOR + 1 :] = ~value[ANCHOR + 1 :]
        value[: ANCHOR - 89] = ~value[: ANCHOR - 89]
    other = population.Behaviour(**parts)
    np.testing.assert_array_equal(question.best_score(other, ANCHOR), question.best_score(lived, ANCHOR))
    assert (question.label(other, ANCHOR) != question.label(lived, ANCHOR)).any()


def test_a_label_beyond_the_history_is_refused():
    with pytest.raises(ValueError, match="needs"):
        population.questions()[0].label(population.behaviour(SMALL), 39)


def test_gaps_and_rates_are_as_declared():
    gaps = gamma_gaps(14, 3, 400)
    day = np.arange(1, 401) - 0.5
    assert gaps.sum() == pytest.approx(1)
    assert gaps @ day == pytest.approx(14, rel=0.01)
    assert gaps @ day**2 - (gaps @ day) ** 2 == pytest.approx(14**2 / 3, rel=0.01)
    regimes = kinds.regimes()
    mean = (regimes.gaps * np.arange(1, 201)).sum(axis=2)
    np.testing.assert_allclose(mean[:, 0], mean[:, 1], rtol=0.02)  # the number of visits does not reveal the regime
    lived = population.behaviour(SPEC)
    assert lived.steps[:, :, 0].mean() == pytest.approx(lived.steps[:, :, 1].mean(), rel=0.02)
    assert set(map(len, NEEDS.values())) <= set(range(5, 11))
    assert len(NEEDS) == 40
    words = [word for several in NEEDS.values() for word in several]
    assert len(words) == len(set(words))


def test_c_follows_b_after_a_and_not_a_after_b():
    steps = population.behaviour(SPEC).steps
    a, b, c = (steps[:, :, step] for step in range(3))

    def rate_after(first, second):
        chosen = np.zeros_like(c)
        for day in range(20, len(c) - 1):
            quiet = ~(first[day - 10 : day - 5].any(axis=0) | second[day - 20 : day].any(axis=0))
            chosen[day + 1] = second[day] & first[day - 5 : day].any(axis=0) & quiet
        return c[chosen].mean()

    assert rate_after(a, b) > 2.5 * rate_after(b, a)


def test_users_do_not_depend_on_how_many_there_are():
    few, many = population.behaviour(SMALL), population.behaviour(population.PopulationSpec(num_users=70, num_days=50))
    for name, value in vars(few).items():
        np.testing.assert_array_equal(value, getattr(many, name)[:40, ..., :50])


def test_it_lands_in_the_contract(tmp_path):
    counts = population.land(str(tmp_path), SMALL)
    lived = population.behaviour(SMALL)
    assert counts == {
        "purchase": lived.fed.sum(),
        "step": lived.steps.sum(),
        "visit": lived.visits.sum(),
        "mailing": 4 * 50,
        "answer": lived.answers.sum(),
    }
    for modality in population.MODALITIES:
        for ds in days(SMALL.first_day, SMALL.last_day):
            assert has_landed(str(tmp_path / modality), ds)
            rows = population.rows_of_day(SMALL, ds)[modality]
            keys = rows.select(["user_id", "event_id"]).to_pylist()
            assert len({tuple(key.values()) for key in keys}) == len(keys)
            window = day_window(ds, "UTC")
            assert all(window.start <= t < window.end for t in rows["event_time"].to_pylist())
    bought = pq.read_table(tmp_path / "purchase" / f"ds={SMALL.first_day + timedelta(days=3)}")
    assert set(bought["what"].to_pylist()) <= {word for words in NEEDS.values() for word in words}


def test_it_is_the_same_in_another_process():
    code = (
        "import hashlib; from updater.sources import population as p; s = p.PopulationSpec(num_users=50, num_days=40);"
        "rows = [t.to_pylist() for t in p.rows_of_day(s, s.last_day).values()];"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
    )
    here = [table.to_pylist() for table in population.rows_of_day(SMALL, SMALL.last_day).values()]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha256(repr(here).encode()).hexdigest()


@pytest.mark.parametrize("wrong", [{"num_users": 0}, {"num_days": 0}, {"seed": -1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        population.PopulationSpec(**wrong)


def test_days_outside_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="population"):
        population.land(str(tmp_path), SMALL, SMALL.last_day, SMALL.last_day + timedelta(days=1))
