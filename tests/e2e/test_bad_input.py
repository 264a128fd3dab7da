"""Bad input through the command line: the right exit code, one sentence that helps, and good rows are used."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.deployment import rows_below, write_config
from tests.factories import MODALITIES, bill, event_table, land_rows, search
from tests.processes import Outcome, run_updater
from updater.cli import main
from updater.lake.partitions import mark_success
from updater.settings import Settings, load_settings

DAY, NEXT = date(2024, 5, 1), date(2024, 5, 2)
END = datetime(2024, 5, 2, tzinfo=UTC)
ONLY_KEYS = {"query": pa.string()}


@dataclass
class Shop:
    """A config in a directory, and the command line on it."""

    root: Path
    config: Path
    settings: Settings

    def call(self, *args: str) -> Outcome:
        done = CliRunner().invoke(main, [*args, "--config", str(self.config)])
        return Outcome(done.exit_code, done.stdout, done.stderr)

    def run(self, ds: date = DAY) -> Outcome:
        return self.call("run", "--ds", str(ds), "--json")

    def report(self, ds: date = DAY) -> dict[str, Any]:
        """The report of a run that works."""
        done = self.run(ds)
        assert (done.exit_code, done.stderr) == (0, "")
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def land(self, modality: str, rows: list[dict[str, Any]], ds: date = DAY, **more: Any) -> None:
        land_rows(self.settings.paths.lake, modality, ds, rows, **more)

    def land_table(self, modality: str, table: pa.Table, ds: date = DAY) -> Path:
        """Land a table as it is; returns its file."""
        directory = Path(self.settings.paths.lake, modality, f"ds={ds}")
        directory.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, directory / "part-000.parquet")
        (directory / "_SUCCESS").touch()
        return directory / "part-000.parquet"

    def good(self, ds: date = DAY, users: int = 3) -> None:
        """Land a day without anything wrong."""
        self.land("bill", [bill(f"u{n}", "e1", f"{ds} 10:00:00") for n in range(users)], ds)
        self.land("search", [search("u0", "e1", f"{ds} 11:00:00")], ds)

    def rejected(self, modality: str = "bill", ds: date = DAY) -> list[dict[str, Any]]:
        return rows_below(Path(self.settings.paths.state, "rejected", modality, f"ds={ds}"))

    def users(self, ds: date = DAY) -> set[str]:
        """Users whose embedding was published."""
        rows = rows_below(Path(self.settings.paths.state, "offline", "lapse_v1", f"ds={ds}"))
        return {row["user_id"] for row in rows}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    config = write_config(tmp_path, modalities=MODALITIES, limits={"max_rejected_share": 0.5})
    made = Shop(tmp_path, config, load_settings(config, environ={}))
    assert made.call("init").exit_code == 0
    return made


def refused(done: Outcome, code: int, *words: str) -> None:
    """One sentence with these words on standard error, and nothing else anywhere."""
    assert done.exit_code == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("updater: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip()[-1] in ".?"
    for word in words:
        assert word in done.stderr


# Rows that are rejected


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


# Days that are empty, absent or out of order


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
    refused(shop.call("backfill", "--from-date", str(late), "--to-date", str(late)), 5, "gap")
    refused(shop.call("backfill", "--from-date", str(DAY), "--to-date", str(late)), 5, "lies before")


def test_a_directory_that_is_no_day_is_passed_over(shop: Shop) -> None:
    shop.good()
    for name in ("ds=2024-13-45", "ds=latest", "_tmp"):
        Path(shop.settings.paths.lake, "bill", name).mkdir()
        Path(shop.settings.paths.lake, "bill", name, "_SUCCESS").touch()
    assert shop.report()["changed_users"] == 3
    assert json.loads(shop.call("status", "--json").stdout)["waiting"] == []


# Partitions that cannot be trusted


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


# Usage and config


@pytest.mark.parametrize(
    "args",
    [
        ("run", "--ds", "2024-02-30"),
        ("run", "--ds", "tomorrow"),
        ("run", "--ds", "0001-01-01"),
        ("run", "--ds", "9999-12-31"),
        ("run",),
        ("backfill", "--from-date", "2024-05-02"),
        ("backfill", "--from-date", "2024-05-02", "--to-date", "2024-05-01"),
        ("state", "verify", "--sample", "0"),
        ("runn", "--ds", "2024-05-01"),
    ],
)
def test_wrong_usage(shop: Shop, args: tuple[str, ...]) -> None:
    done = shop.call(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_that_is_wrong(shop: Shop) -> None:
    text = shop.config.read_text()
    for old, new, *words in (
        ("num_buckets", "num_bukets", "'buffer.num_bukets'", "did you mean 'num_buckets'"),
        ("[buffer]", "[bufer]", "'bufer'", "did you mean 'buffer'"),
        ("[paths]", 'timezone = "Europe/Berlim"\n[paths]', "'Europe/Berlim'", "did you mean 'Europe/Berlin'"),
        ("num_buckets = 1", "num_buckets = 2", "buffer.num_buckets is '2'", "made with '1'", "start a new state"),
        ("[paths]", 'timezone = "Asia/Tokyo"\n[paths]', "timezone is 'Asia/Tokyo'", "made with 'UTC'"),
        ("[paths]", "[paths", "cannot be read"),
        ('state = "state"', 'state = "state[1]"', "paths.state", "'['"),
    ):
        assert old in text
        shop.config.write_text(text.replace(old, new, 1))
        refused(shop.run(), 2, *words)


def test_a_state_that_is_not_initialized(tmp_path: Path) -> None:
    config = write_config(tmp_path, modalities=MODALITIES)
    shop = Shop(tmp_path, config, load_settings(config, environ={}))
    for args in (
        ("run", "--ds", "2024-05-01"),
        ("status",),
        (
            "state",
            "verify",
        ),
    ):
        refused(shop.call(*args), 2, "updater init")
    assert not Path(shop.settings.paths.state).exists()


def test_as_a_process(shop: Shop) -> None:
    """The same sentences when nothing is shared with the tests; and a traceback only when asked for."""
    done = run_updater("run", "--ds", "2024-05-01", "--config", str(shop.config))
    refused(done, 3, "does not exist")
    shop.config.write_text(shop.config.read_text().replace("[buffer]", "[bufer]"))
    refused(run_updater("status", "--config", str(shop.config)), 2, "did you mean 'buffer'")
    assert "Traceback" in run_updater("status", "--debug", "--config", str(shop.config)).stderr
