"""The log of codes: as sparse and heavy-tailed as it says, with something to read in its numbers."""

import hashlib
import subprocess
import sys
import tomllib
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from updater.domain.window import day_window, days
from updater.errors import ConfigError
from updater.evaluation.metrics import auc_and_ks
from updater.evaluation.probe import fit_logistic
from updater.labels.events import open_events
from updater.labels.tables import label_tables
from updater.labels.tasks import read_tasks
from updater.lake.partitions import has_landed
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.sources import codes
from updater.sources.codes.shoppers import codes as product_codes
from updater.sources.codes.shoppers import lines_of_day

SPEC = codes.CodesSpec(num_users=16_000)
SMALL = codes.CodesSpec(num_users=300, num_days=20)


@pytest.fixture(scope="module")
def orders():
    return codes.ordering_days(SPEC)


@pytest.fixture(scope="module")
def totals():
    """Cents by day and user."""
    found = np.zeros((SPEC.num_days, SPEC.num_users))
    for day in range(SPEC.num_days):
        lines = lines_of_day(SPEC, day)
        np.add.at(found[day], lines.user, lines.cents)
    return found


def test_the_median_user_orders_on_two_days_and_few_on_many(orders):
    num = orders.sum(axis=0)
    num = num[num > 0]
    assert np.median(num) == 2
    assert (num == 1).mean() > 0.25
    assert np.percentile(num, 99) >= 10


def test_products_prices_and_totals_have_heavy_tails(totals):
    bought = Counter(lines_of_day(SPEC, 50).product.tolist())
    commonest = sum(count for _, count in bought.most_common(40))
    assert commonest > 0.15 * sum(bought.values())  # a hundredth of the products
    spent = totals[totals > 0]
    assert np.percentile(spent, 99) > 8 * np.median(spent)


@pytest.mark.parametrize(("horizon", "least"), [(14, 0.66), (28, 0.66)])
def test_recency_frequency_and_money_tell_who_comes_again(orders, totals, horizon, least):
    anchor = 80
    known = orders[: anchor + 1]
    users = np.flatnonzero(known.any(axis=0))
    recency = known[::-1].argmax(axis=0)[users]
    frequency = known.sum(axis=0)[users]
    money = totals[: anchor + 1].sum(axis=0)[users] / frequency
    label = np.asarray(orders[anchor + 1 : anchor + 1 + horizon].any(axis=0))[users]
    features = np.stack([np.log1p(recency), np.log1p(frequency), np.log1p(money)], axis=1)
    train = users % 2 == 0
    score = fit_logistic(features[train], label[train])(features[~train])
    alone = [
        auc_and_ks(label[~train], sign * column[~train])[0] for sign, column in zip((-1, 1, 1), features.T, strict=True)
    ]
    assert min(alone) > 0.53  # each of the three says something
    assert least < auc_and_ks(label[~train], score)[0] < 0.85
    assert 0.05 < label.mean() < 0.5


def test_codes_are_distinct_and_say_nothing():
    found = product_codes(SPEC)
    assert len(set(found)) == SPEC.num_products
    # Neighbours share no more of their first part than any two products do.
    first = [code.split("-")[0] for code in found]
    same = np.mean([a == b for one, two in pairwise(first) for a, b in zip(one, two, strict=True)])
    assert same == pytest.approx(1 / 16, abs=0.01)


def test_users_do_not_depend_on_how_many_there_are():
    few, many = (codes.CodesSpec(num_users=num, num_days=20) for num in (300, 400))
    np.testing.assert_array_equal(codes.ordering_days(few), codes.ordering_days(many)[:, :300])
    one, two = lines_of_day(few, 10), lines_of_day(many, 10)
    chosen = two.user < 300
    for name in ("user", "product", "cents"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name)[chosen])


def test_it_lands_in_the_contract(tmp_path):
    counts = codes.land(str(tmp_path), SMALL)
    assert counts["order"] == codes.ordering_days(SMALL).sum()
    assert counts["line"] > counts["order"]
    for ds in days(SMALL.first_day, SMALL.last_day):
        window, rows = day_window(ds, "UTC"), codes.rows_of_day(SMALL, ds)
        for modality in codes.MODALITIES:
            assert has_landed(str(tmp_path / modality), ds)
            keys = [tuple(key.values()) for key in rows[modality].select(["user_id", "event_id"]).to_pylist()]
            assert len(set(keys)) == len(keys)
            assert all(window.start <= t < window.end for t in rows[modality]["event_time"].to_pylist())
        spent = Counter()
        for row in rows["line"].to_pylist():
            spent[row["user_id"]] += row["price"]
        for row in rows["order"].to_pylist():
            assert row["total"] == pytest.approx(spent[row["user_id"]])


def test_it_is_the_same_in_another_process():
    code = (
        "import hashlib; from updater.sources import codes as c; s = c.CodesSpec(num_users=300, num_days=20);"
        "rows = [t.to_pylist() for t in c.rows_of_day(s, s.last_day).values()];"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
    )
    here = [table.to_pylist() for table in codes.rows_of_day(SMALL, SMALL.last_day).values()]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha256(repr(here).encode()).hexdigest()


@pytest.mark.parametrize("wrong", [{"num_users": 0}, {"num_days": 0}, {"num_products": 0}, {"seed": -1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        codes.CodesSpec(**wrong)


def test_days_outside_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="log of codes"):
        codes.land(str(tmp_path), SMALL, SMALL.last_day, SMALL.last_day + timedelta(days=1))


def test_the_page_declares_the_log_and_a_label(make_settings):
    page = (Path(__file__).parents[2] / "docs" / "made_up_lakes.md").read_text()
    config, tasks = (tomllib.loads(block.split("```")[0]) for block in page.split("```toml\n")[1:])
    settings = make_settings(modalities=config["modalities"])
    codes.land(settings.paths.lake, SMALL)
    file = Path(settings.source).with_name("tasks.toml")
    file.write_text("[[tasks]]" + page.split("[[tasks]]")[1].split("```")[0])
    [task] = read_tasks(file)
    assert task.name == tasks["tasks"][0]["name"]
    create_ledger(settings)
    with open_events(open_writable(settings)) as events:
        rows = label_tables(events, [task], [SMALL.first_day + timedelta(days=5)])[task.name].to_pylist()
    orders = codes.ordering_days(SMALL)
    again = orders[6:20].any(axis=0)
    assert {row["user_id"]: row["label"] for row in rows} == {
        f"c{user:07d}": again[user] for user in np.flatnonzero(orders[:6].any(axis=0))
    }
