"""Bad rows through the command line: they are rejected, each with a reason, and good rows are used."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tests.factories import MODALITIES, bill, event_table, search
from tests.shop import DAY, NEXT, ONLY_KEYS, Shop, refused

END = datetime(2024, 5, 2, tzinfo=UTC)


def test_every_kind_of_bad_row_is_rejected_and_counted(shop: Shop) -> None:
    ok = bill("u1", "e", "2024-05-01 10:00:00")
    bad = {
        "user_id is null": {"user_id": None},
        "event_id is null": {"event_id": None},
        "user_id is empty": {"user_id": ""},
        "event_id is empty": {"event_id": ""},
        "user_id is longer than 256 bytes": {"user_id": "é" * 129},
        "event_id is longer than 256 bytes": {"event_id": "x" * 257},
        "event_time is null or cannot be parsed": {"event_time": None},
        "event_time is later than the end of the landing day": {"event_time": END},
        "op is neither upsert nor delete": {"op": "remove"},
        "amount is not finite": {"amount": float("nan")},
        "merchant is longer than 8192 bytes": {"merchant": "x" * 1_000_000},
    }
    good = [{**ok, "event_id": f"g{n}"} for n in range(9)]
    good += [
        {**ok, "user_id": "é" * 128, "event_id": "x" * 256},
        {**ok, "user_id": "u2", "event_time": END - timedelta(microseconds=1)},
        {**ok, "user_id": "u3", "merchant": None, "amount": None},
    ]
    rows = [row for pair in zip(good, [{**ok, **change} for change in bad.values()], strict=False) for row in pair]
    shop.land("bill", [*rows, *good[len(bad) :]])
    shop.land("search", [search("u4", "e", "2024-05-01", query="")])

    report = shop.report()
    counts = {m["modality"]: (m["rows"], m["rejected"]) for m in report["modalities"]}
    assert counts == {"bill": (23, 11), "search": (1, 0), "app": (0, 0)}
    assert {row["reason"] for row in shop.rejected()} == bad.keys()
    for row in shop.rejected():
        assert (row["file"], row["row_number"] % 2) == ("part-000.parquet", 1)
        assert json.loads(row["row"]).keys() == {
            "user_id",
            "event_id",
            "event_time",
            "op",
            *MODALITIES[0]["numeric"],
            "category",
            "merchant",
        }
    assert shop.users() == {"u1", "é" * 128, "u2", "u3", "u4"}
    assert json.loads(shop.call("state", "verify", "--all", "--json").stdout)["differences"] == []


def test_text_that_is_not_utf8_is_rejected(shop: Shop) -> None:
    raw = pa.array([b"caf\xe9", "café".encode(), b"\xff", b"\x00"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    table = event_table([bill(f"u{n}", "e", "2024-05-01") for n in range(len(raw))])
    shop.land_table("bill", table.set_column(table.column_names.index("merchant"), "merchant", broken))
    shop.land("search", [], columns=ONLY_KEYS)
    assert shop.report()["modalities"][0]["rejected"] == 2
    assert [row["reason"] for row in shop.rejected()] == ["merchant is not UTF-8"] * 2
    assert json.loads(shop.rejected()[0]["row"])["merchant"] == "caf\\xe9"
    assert shop.users() == {"u1", "u3"}


def test_times_that_are_strings_are_parsed_or_rejected(shop: Shop) -> None:
    times = {
        "ok": "2024-05-01T23:59:59.999999+00:00",
        "offset": "2024-05-02T01:30:00+02:00",
        "naive": "2024-05-01 08:00:00",
        "late": "2024-05-02T00:00:00Z",
        "word": "yesterday",
        "month": "2024-13-01",
        "early": "0001-01-01T00:00:00+14:00",
        "empty": "",
    }
    rows = [{"user_id": user, "event_id": "e", "event_time": time, "query": "milk"} for user, time in times.items()]
    shop.land("bill", [], columns={name: pa.string() for name in ("category", "merchant", "amount")})
    shop.land_table("search", pa.table({name: [row[name] for row in rows] for name in rows[0]}))
    done = shop.run()
    refused(done, 4, "5 of 8 rows", "limits.max_rejected_share")
    shop.land("search", rows=[search(f"u{n}", "e", "2024-05-01") for n in range(9)], name="part-001.parquet")
    assert shop.report()["modalities"][1]["rejected"] == 5
    assert shop.users() == {"ok", "offset", "naive", *(f"u{n}" for n in range(9))}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_beyond_the_calendar_are_rejected(shop: Shop, unit: str) -> None:
    shop.good()
    # Parquet has no seconds: they are written as milliseconds.
    far = 2**50 if unit == "s" else 2**62
    times = pa.array([far, -far, 1714550400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]])
    table = pa.table({
        "user_id": ["far", "farther", "near"],
        "event_id": ["e"] * 3,
        "event_time": times.cast(pa.timestamp(unit, "UTC")),
        "query": ["milk"] * 3,
    })  # fmt: skip
    shop.land_table("search", table)
    if unit == "ns":
        # These are in the years 2116 and 1823.
        assert shop.report()["modalities"][1]["rejected"] == 1
        return
    refused(shop.run(), 4, "2 of 3 rows", "event_time is null or cannot be parsed")
    assert {json.loads(row["row"])["user_id"] for row in shop.rejected("search")} == {"far", "farther"}


def test_of_an_id_that_comes_twice_the_last_row_stands(shop: Shop) -> None:
    shop.land("bill", [bill("u", "e", "2024-05-01", amount=1.0), bill("u", "e", "2024-05-01", amount=2.0)])
    shop.land("bill", [bill("u", "e", "2024-05-01", amount=3.0)], name="part-001.parquet")
    shop.land("search", [], columns=ONLY_KEYS)
    report = shop.report()
    assert (report["modalities"][0]["rows"], report["modalities"][0]["reasons"]) == (3, {"new": 1})
    same, other = bill("u", "e", "2024-05-01", amount=3.0), bill("u", "e", "2024-05-01", amount=4.0)
    for ds, row, users in ((NEXT, same, 0), (NEXT + timedelta(days=1), other, 1)):
        shop.land("bill", [row], ds)
        shop.land("search", [], ds, columns=ONLY_KEYS)
        assert shop.report(ds)["changed_users"] == users
    assert json.loads(shop.call("state", "verify", "--all", "--json").stdout)["differences"] == []


def test_good_rows_that_land_again_leave_no_rejected_rows_behind(shop: Shop) -> None:
    shop.good()
    shop.land("bill", [bill("", f"e{n}", "2024-05-01") for n in range(4)], name="part-001.parquet")
    refused(shop.run(), 4, "4 of 7 rows", "user_id is empty", "part-001.parquet", "Land the day again")
    assert len(shop.rejected()) == 4
    Path(shop.settings.paths.lake, "bill", f"ds={DAY}", "part-001.parquet").unlink()
    assert shop.report()["modalities"][0]["rejected"] == 0
    assert shop.rejected() == []
