"""The made-up history: landed in the contract, the same everywhere, and as accident-prone as declared."""

import dataclasses
import hashlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.window import day_window, days
from updater.errors import ConfigError
from updater.lake.landing import read_partition
from updater.lake.partitions import has_landed
from updater.settings import Limits, load_settings
from updater.sources import synthetic
from updater.sources.synthetic.random_bits import below, long_tail, random_bits, uniform
from updater.sources.synthetic.vocabulary import vocabulary

KEYS = "user_id", "event_id", "event_time"
LOCAL = Path(__file__).parents[2] / "configs" / "local.toml"
SPEC = synthetic.SyntheticSpec(num_users=2000, num_days=60)
COSTLY = dataclasses.replace(SPEC, num_users=60, num_days=12)


@pytest.fixture(scope="module")
def history():
    """Per modality all rows of SPEC as dictionaries with their landing day `ds`, in landing order."""
    found = {modality: [] for modality in synthetic.MODALITIES}
    for ds in days(SPEC.first_day, SPEC.last_day):
        for modality, rows in synthetic.rows_of_day(SPEC, ds).items():
            found[modality] += [{**row, "ds": ds} for row in rows.to_pylist()]
    return found


def versions(rows):
    """Rows by event, oldest first."""
    events = {}
    for row in rows:
        events.setdefault((row["user_id"], row["event_id"]), []).append(row)
    return events


def content(row):
    return {name: value for name, value in row.items() if name != "ds"}


def fate(landed):
    first, *later = landed
    if first["ds"] > first["event_time"].date():
        assert not later
        return "late"
    if not later:
        return "on time"
    [second] = later
    assert second["event_time"] == first["event_time"]
    if second["op"] == "delete":
        assert {name for name, value in second.items() if value is not None} == {*KEYS, "op", "ds"}
        return "deleted"
    return "duplicate" if content(second) == content(first) else "replaced"


def test_streams_are_late_duplicated_replaced_and_deleted_as_declared(history):
    declared = {
        "late": SPEC.late_share,
        "duplicate": SPEC.duplicate_share,
        "replaced": SPEC.replace_share,
        "deleted": SPEC.delete_share,
    }
    settled = SPEC.last_day - timedelta(days=7)
    for stream in synthetic.STREAMS:
        events = [landed for landed in versions(history[stream]).values() if landed[0]["event_time"].date() <= settled]
        shares = {name: number / len(events) for name, number in Counter(map(fate, events)).items()}
        assert len(events) > 8_000
        for name, share in declared.items():
            # A replacement may draw the same content again; four standard errors otherwise.
            assert shares[name] == pytest.approx(share, abs=4 * (share / len(events)) ** 0.5 + share / 20), (
                stream,
                name,
            )


def test_lags_end_after_seven_days(history):
    lags = Counter((row["ds"] - row["event_time"].date()).days for row in history["spm"])
    assert set(lags) == set(range(8))


def test_the_declared_share_of_users_is_active_each_day(history):
    active = {}
    for stream in synthetic.STREAMS:
        for row in history[stream]:
            active.setdefault(row["event_time"].date(), set()).add(row["user_id"])
    shares = [len(users) / SPEC.num_users for users in active.values()]
    assert len(shares) == SPEC.num_days
    # On the last day the late events of a few users have not landed yet.
    assert np.mean(shares) == pytest.approx(SPEC.active_share, rel=0.02)
    assert min(shares) > 0.16
    assert max(shares) < 0.24


def test_an_active_day_has_the_declared_number_of_events(history):
    first_landings = {m: len(versions(history[m])) for m in synthetic.STREAMS}
    active_days = SPEC.active_share * SPEC.num_users * SPEC.num_days
    for stream, number in first_landings.items():
        expected = getattr(SPEC.events_per_active_day, stream)
        assert number / active_days == pytest.approx(expected, rel=0.05), stream


def test_users_appear_and_fall_silent(history):
    lives = {}
    for stream in synthetic.STREAMS:
        for row in history[stream]:
            day = (row["event_time"].date() - SPEC.first_day).days
            first, last = lives.get(row["user_id"], (day, day))
            lives[row["user_id"]] = min(first, day), max(last, day)
    new = sum(first >= 40 for first, _ in lives.values()) / SPEC.num_users
    silent = sum(last < 20 for _, last in lives.values()) / SPEC.num_users
    assert 0.02 < new < 0.05
    assert 0.02 < silent < 0.05


def test_a_snapshot_holds_a_user_once_a_day_and_an_app_once_a_user(history):
    for modality in synthetic.SNAPSHOTS:
        rows = history[modality]
        assert len({(row["user_id"], row["event_id"], row["ds"]) for row in rows}) == len(rows)
        assert len({(row["user_id"], row["ds"], row["event_time"]) for row in rows}) == len(
            {(row["user_id"], row["ds"]) for row in rows}
        )
    lists = Counter((row["user_id"], row["ds"]) for row in history["app"])
    assert 5 < np.mean(list(lists.values())) < 20
    assert {row["event_id"] for row in history["tabular"]} == {"profile"}


def test_texts_repeat_with_a_long_tail(history):
    assert len({row["merchant"] for row in history["bill"]}) > 1_500
    queries = Counter(row["query"] for row in history["search"])
    assert len(queries) > 2_000
    assert queries.most_common(1)[0][1] > 100
    assert Counter(queries.values())[1] > 500


@pytest.mark.parametrize("modality", synthetic.MODALITIES)
def test_landed_days_are_accepted_whole(tmp_path_factory, modality):
    lake = tmp_path_factory.mktemp("lake")
    calls = []
    counts = synthetic.land(str(lake), COSTLY, progress=lambda *done: calls.append(done))
    assert calls == [(n, 12) for n in range(1, 13)]
    declared = load_settings(LOCAL, {}).modality(modality)
    rows = 0
    for ds in days(COSTLY.first_day, COSTLY.last_day):
        assert has_landed(f"{lake}/{modality}", ds)
        directory = f"{lake}/{modality}/ds={ds}"
        landed = read_partition(directory, declared, day_window(ds, "UTC"), Limits(), 4, None)
        assert landed.rejected.num_rows == 0
        rows += landed.num_rows
    assert rows == counts[modality]
    schemas = {pq.read_schema(path).remove_metadata() for path in lake.glob(f"{modality}/ds=*/*.parquet")}
    assert len(schemas) == 1
    assert schemas.pop().field("event_time").type == pa.timestamp("us", "UTC")


def contents(lake):
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


def test_days_land_the_same_bytes_in_any_order_and_again(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    counts = synthetic.land(str(whole), COSTLY)
    first = contents(whole)
    assert synthetic.land(str(whole), COSTLY) == counts
    assert contents(whole) == first
    middle = COSTLY.first_day + timedelta(days=5)
    late = synthetic.land(str(parts), COSTLY, from_date=middle)
    early = synthetic.land(str(parts), COSTLY, to_date=middle - timedelta(days=1))
    assert contents(parts) == first
    assert {m: late[m] + early[m] for m in late} == counts


def test_rows_are_the_same_on_every_machine():
    """Written down once: a change here means that every benchmark starts from other data."""
    digest = hashlib.sha256()
    for modality, rows in synthetic.rows_of_day(SPEC, date(2025, 2, 1)).items():
        assert rows.num_rows > 5, modality
        for name in rows.column_names:
            column = rows[name].cast(pa.int64()) if name == "event_time" else rows[name]
            digest.update(repr((modality, name, column.to_pylist())).encode())
    assert digest.hexdigest() == "8f175df6dbb19a3edfd67e35b4ec35aa58ffb1d4cb2da4f04862075dbd51f5c9"


def test_another_seed_makes_another_history():
    other = dataclasses.replace(COSTLY, seed=8)
    assert (
        synthetic.rows_of_day(COSTLY, COSTLY.last_day)["bill"] != synthetic.rows_of_day(other, COSTLY.last_day)["bill"]
    )


def test_event_times_are_of_their_day_and_deletions_keep_their_keys_only(history):
    for row in history["bill"]:
        start = datetime.combine(row["ds"], datetime.min.time(), UTC)
        assert row["event_time"] < start + timedelta(days=1)
        assert (row["amount"] is None) == (row["op"] == "delete")


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_users": 0},
        {"num_days": 0},
        {"seed": -1},
        {"late_share": -0.1},
        {"active_share": 1.5},
        {"late_share": 0.6, "delete_share": 0.6},
    ],
)
def test_impossible_specs_are_refused(wrong):
    with pytest.raises(ConfigError, match="synthetic"):
        synthetic.SyntheticSpec(**wrong)


def test_impossible_event_rates_are_refused():
    with pytest.raises(ConfigError, match=r"events_per_active_day\.app is 2"):
        synthetic.EventsPerActiveDay(app=2)
    with pytest.raises(ConfigError, match=r"events_per_active_day\.bill is -1"):
        synthetic.EventsPerActiveDay(bill=-1)


def test_days_outside_the_history_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="from 2025-01-01 to 2025-01-12"):
        synthetic.land(str(tmp_path), COSTLY, to_date=date(2025, 1, 13))
    assert list(tmp_path.iterdir()) == []


def test_a_spec_without_accidents_lands_every_event_once():
    calm = dataclasses.replace(COSTLY, late_share=0, duplicate_share=0, replace_share=0, delete_share=0)
    seen = set()
    for ds in days(calm.first_day, calm.last_day):
        rows = synthetic.rows_of_day(calm, ds)["spm"].to_pylist()
        keys = {(row["user_id"], row["event_id"]) for row in rows}
        assert len(keys) == len(rows)
        assert not keys & seen
        assert {row["event_time"].date() for row in rows} == {ds}
        seen |= keys


def test_random_bits_are_those_of_splitmix64_and_fair():
    # First output of the reference implementation for the seed 1234567.
    assert random_bits(1234567)[0] == 6457827717110365317
    draws = random_bits(3, np.arange(100_000))
    assert len(np.unique(draws)) == 100_000
    assert uniform(draws).mean() == pytest.approx(0.5, abs=0.005)
    assert np.bincount(below(draws, 10), minlength=10).min() > 9_500
    ranks = np.bincount(long_tail(draws, 1_000), minlength=1_000)
    assert ranks[0] == pytest.approx(10_000, rel=0.1)
    assert ranks[:100].sum() > 4 * ranks[-100:].sum()


def test_vocabularies_are_of_the_declared_sizes():
    sizes = {name: (len(words), len(words.unique())) for name, words in vocabulary().items()}
    assert sizes["merchant"] == (2_000, 2_000)
    assert sizes["merchant_category"] == (2_000, 40)
    assert sizes["query"] == (20_000, 20_000)
    assert sizes["app"] == (500, 500)
    assert all(word == " ".join(word.split()) for words in vocabulary().values() for word in words.to_pylist())
