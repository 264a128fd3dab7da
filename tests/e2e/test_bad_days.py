"""Days that are empty, absent, damaged or out of order: the right exit code, and one sentence that helps."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.factories import bill, event_table, search
from tests.shop import DAY, NEXT, ONLY_KEYS, Shop, refused
from updater.lake.partitions import mark_success


def test_a_day_without_rows_works(shop: Shop) -> None:
    mark_success(f"{shop.settings.paths.lake}/bill", DAY)
    shop.land("search", [], columns=ONLY_KEYS)
    report = shop.report()
    assert (report["changed_users"], report["rows"], report["texts_encoded"]) == (0, 0, 0)
    assert json.loads(shop.call("state", "verify", "--all", "--json").stdout)["differences"] == []
    shop.good(NEXT)
    assert shop.report(NEXT)["changed_users"] == 3
    assert json.loads(shop.call("state", "verify", "--all", "--json").stdout)["differences"] == []


def test_a_day_that_has_not_landed(shop: Shop) -> None:
    shop.good()
    shop.report()
    shop.land("search", [search("u", "e", str(NEXT))], NEXT, success=False)
    shop.land("bill", [bill("u", "e", str(NEXT))], NEXT)
    refused(shop.run(NEXT), 3, f"search/ds={NEXT} has not landed", "_SUCCESS", "optional")
    assert shop.call("run", "--ds", str(NEXT), "--dry-run").exit_code == 3
    mark_success(f"{shop.settings.paths.lake}/search", NEXT)
    assert shop.report(NEXT)["changed_users"] == 1


def test_a_first_window_whose_buffer_has_a_hole_opens_nothing(shop: Shop) -> None:
    shop.good()
    shop.good(NEXT + timedelta(days=1))
    refused(shop.run(NEXT + timedelta(days=1)), 3, f"ds={NEXT} has not landed")
    # The day was a mistake; another one may be the first.
    shop.report(DAY)


def test_a_lake_that_does_not_exist(shop: Shop) -> None:
    refused(shop.run(), 3, f"The lake {shop.settings.paths.lake} does not exist", "paths.lake")


def test_windows_out_of_order(shop: Shop) -> None:
    for offset in range(4):
        shop.good(DAY + timedelta(days=offset))
    shop.report(NEXT)
    refused(shop.run(DAY), 5, f"{DAY} lies before {NEXT}", "new state")
    late = DAY + timedelta(days=3)
    refused(shop.run(late), 5, "gap", f"updater backfill --from-date {DAY + timedelta(days=2)} --to-date {late}")
    for dry in ([], ["--dry-run"]):
        refused(shop.call("backfill", "--from-date", str(late), "--to-date", str(late), *dry), 5, "gap")
        refused(shop.call("backfill", "--from-date", str(DAY), "--to-date", str(late), *dry), 5, "lies before")


def test_a_restatement_of_a_day_that_the_first_window_took_in(shop: Shop) -> None:
    for offset in range(2):
        shop.good(DAY + timedelta(days=offset))
    shop.report(NEXT)
    shop.good(DAY, users=4)
    named = shop.call("status").stdout.replace("\n", " ")
    range_ = ["--from-date", str(DAY), "--to-date", str(NEXT), "--restate"]
    assert f"`updater backfill {' '.join(range_)}`" in named
    plan = json.loads(shop.call("backfill", *range_, "--dry-run", "--json").stdout)
    assert (plan["days"], plan["rewritten"], plan["affected_days"]) == ([], [f"bill {DAY}"], 1)
    done = shop.call("backfill", *range_)
    assert done.exit_code == 0, done.output
    assert "over 1 days" in done.stdout
    assert "rewritten" not in shop.call("status").stdout


def test_a_directory_that_is_no_day_is_passed_over(shop: Shop) -> None:
    shop.good()
    for name in ("ds=2024-13-45", "ds=latest", "_tmp"):
        Path(shop.settings.paths.lake, "bill", name).mkdir()
        Path(shop.settings.paths.lake, "bill", name, "_SUCCESS").touch()
    assert shop.report()["changed_users"] == 3
    assert json.loads(shop.call("status", "--json").stdout)["waiting"] == []


def without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def retyped(name: str, type_: pa.DataType, value: Any = None) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.column_names.index(name), name, pa.array([value] * table.num_rows, type_)
    )


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (without("user_id"), "user_id"),
        (without("event_time"), "event_time"),
        (without("merchant"), "merchant"),
        (without("amount"), "amount"),
        (retyped("user_id", pa.int64(), 1), "user_id"),
        (retyped("event_id", pa.list_(pa.string()), ["e"]), "event_id"),
        (retyped("event_time", pa.int64(), 1), "event_time"),
        (retyped("event_time", pa.date32(), DAY), "event_time"),
        (retyped("amount", pa.timestamp("us"), datetime(2024, 5, 1)), "amount"),
        (retyped("merchant", pa.struct([("name", pa.string())]), {"name": "x"}), "merchant"),
        (retyped("op", pa.bool_(), True), "op"),
    ],
)
def test_a_wrong_schema_is_refused_by_file_and_column(
    shop: Shop, change: Callable[[pa.Table], pa.Table], column: str
) -> None:
    shop.land("search", [search("u", "e", "2024-05-01")])
    table = event_table([bill("u", "e", "2024-05-01", op=None)])
    file = shop.land_table("bill", change(table))
    refused(shop.run(), 4, str(file), repr(column), "land the day again")
    assert shop.users() == set()
    shop.land_table("bill", table)
    assert shop.report()["changed_users"] == 1


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    # The first column's page, not the footer.
    return content[:30] + bytes(255 - byte for byte in content[30:60]) + content[60:]


@pytest.mark.parametrize("damage", [torn, flipped, lambda _: b"", lambda _: b"user_id,event_id\n"])
def test_a_damaged_file_is_refused(shop: Shop, damage: Callable[[bytes], bytes]) -> None:
    shop.good()
    file = Path(shop.settings.paths.lake, "bill", f"ds={DAY}", "part-000.parquet")
    content = file.read_bytes()
    file.write_bytes(damage(content))
    refused(shop.run(), 4, str(file), "not a readable Parquet file", "land the day again")
    file.write_bytes(content)
    assert shop.report()["changed_users"] == 3


def test_the_day_of_a_backfill_that_is_refused_stops_it_after_the_days_before(shop: Shop) -> None:
    days = [DAY + timedelta(days=offset) for offset in range(3)]
    for ds in days:
        shop.good(ds)
    broken = Path(shop.settings.paths.lake, "bill", f"ds={days[2]}", "part-000.parquet")
    content = broken.read_bytes()
    broken.write_bytes(b"")
    backfill = ("backfill", "--from-date", str(days[0]), "--to-date", str(days[2]))
    refused(shop.call(*backfill), 4, str(broken))
    status = json.loads(shop.call("status", "--json").stdout)
    assert (status["watermark"], status["unfinished"]) == (str(days[1]), [str(days[2])])
    broken.write_bytes(content)
    assert shop.call(*backfill).exit_code == 0
    assert json.loads(shop.call("status", "--json").stdout)["watermark"] == str(days[2])
