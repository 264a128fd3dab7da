"""The ledger of a full-size deployment: 4,096 buckets, 400 days, and every look that a window, a plan, `status` or the
report takes at it.

    python -m benchmarks.scale.ledger                                  SQLite in a temporary directory
    python -m benchmarks.scale.ledger --url postgresql+psycopg://…     a database of its own there, removed at the end

The rows are made by the database from one made-up row of each table, as wide as those of ten scenarios. Prints per look
two numbers in milliseconds: the least wall-clock time of five, and the median CPU time of this process, whose largest
part are rows becoming objects.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from updater.ledger import BucketRecord, Head, LedgerWriter, ModelRecord, open_writer, upgrade
from updater.ledger.engine import create_ledger_engine

NUM_BUCKETS = 4096
NUM_DAYS = 400
MODALITIES = ("bill", "mini", "spm", "app", "search", "tabular")
SCENARIOS = [f"scenario_{number}" for number in range(10)]
FIRST = date(2025, 1, 1)
BUFFER_DAYS = 90
ROUNDS = 5
DIGEST = "0123456789abcdef" * 4
COUNTS = {"changed_users": 8544, "changed_summaries": 17088, "prefixes": 8544, "active_users": 24400}
FINGERPRINTS = dict.fromkeys(SCENARIOS, DIGEST)


def measure(url: str, num_buckets: int = NUM_BUCKETS, num_days: int = NUM_DAYS) -> dict[str, Any]:
    """Fill a new ledger at `url` and time each look: milliseconds by name, and `fill seconds`."""
    upgrade(url)
    ledger = open_writer(url)
    start = time.perf_counter()
    _fill(ledger, url, num_buckets, num_days)
    found: dict[str, Any] = {"fill seconds": round(time.perf_counter() - start, 1)}
    for name, look in _looks(ledger, num_buckets, num_days).items():
        found[name] = _milliseconds([_seconds(look) for _ in range(ROUNDS)])
    found["move_head"] = _milliseconds(list(_moves(ledger, num_buckets, num_days)))
    return found


def _milliseconds(took: Sequence[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = zip(*took, strict=True)
    return {"wall": round(1e3 * min(wall), 1), "cpu": round(1e3 * median(cpu), 1)}


def _looks(ledger: LedgerWriter, num_buckets: int, num_days: int) -> dict[str, Callable[[], Any]]:
    last = FIRST + timedelta(days=num_days - 1)
    bucket = num_buckets // 2
    shard = range(bucket, min(bucket + 16, num_buckets))
    return {
        "heads": ledger.heads,
        "head": lambda: ledger.head(bucket),
        "newest_head": ledger.newest_head,
        "published (promotion)": ledger.published,
        "bucket_records of a day (status, publish)": lambda: ledger.bucket_records(last),
        "bucket_records of a shard (refresh)": lambda: ledger.bucket_records(last, shard),
        "bucket_record": lambda: ledger.bucket_record(bucket, last),
        "bucket_history (erasure)": lambda: ledger.bucket_history(bucket),
        "partitions of the buffer (verify)": lambda: [
            ledger.partitions(name, last - timedelta(days=BUFFER_DAYS), last) for name in MODALITIES
        ],
        "partitions, all (event files)": lambda: ledger.partitions(to_date=last),
        "partition": lambda: ledger.partition("bill", last),
        "windows (plan, backfill)": ledger.windows,
        "completed_windows (status, report)": lambda: ledger.completed_windows(30),
        "unfinished_windows": ledger.unfinished_windows,
        "first_window": ledger.first_window,
        "watermark": ledger.watermark,
        "live_model": ledger.live_model,
        "erased": ledger.erased,
        "audit": lambda: ledger.audit(30),
    }


def _moves(ledger: LedgerWriter, num_buckets: int, num_days: int) -> Iterator[tuple[float, float]]:
    """Seconds of what a bucket writes for a day."""
    ds = FIRST + timedelta(days=num_days)
    now = datetime(ds.year, ds.month, ds.day, 2, tzinfo=UTC)
    ledger.open_window(ds, now, now)
    for bucket in range(min(20, num_buckets)):
        head = ledger.head(bucket)
        new = _head(bucket, ds)
        record = BucketRecord(
            bucket=bucket, ds=ds, generation=0, digest=DIGEST, counts=COUNTS, files=_files(), committed_at=now
        )
        yield _seconds(lambda head=head, new=new, record=record: ledger.move_head(head, new, record, 0))


def _head(bucket: int, ds: date) -> Head:
    return Head(
        bucket=bucket,
        ds=ds,
        digest=DIGEST,
        generation=0,
        model_version=1,
        scenarios=FINGERPRINTS,
        modalities=dict.fromkeys(MODALITIES, DIGEST),
    )


def _files() -> list[str]:
    return [f"{DIGEST}-{name}_v1" for name in SCENARIOS] + [f"{DIGEST}-summaries", f"{DIGEST}-modality_summaries"]


def _seconds(look: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    look()
    return time.perf_counter() - start, time.process_time() - cpu


def _fill(ledger: LedgerWriter, url: str, num_buckets: int, num_days: int) -> None:
    """Rows of all tables, made within the database."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    ledger.add_model(ModelRecord(version=1, digest=DIGEST, name="v1", trained=True, created_at=now, live=True))
    ledger.set_live_model(1)
    engine = create_ledger_engine(url)
    is_postgres = engine.dialect.name == "postgresql"
    day = "(date '2025-01-01' + d.n)" if is_postgres else "date('2025-01-01', '+' || d.n || ' days')"
    at = f"({day} + time '02:00')" if is_postgres else f"({day} || ' 02:00:00.000000')"
    json_of = "cast(:{} as json)" if is_postgres else ":{}"
    last = day.replace("d.n", str(num_days - 1))
    window = json.dumps({**COUNTS, "seconds": dict.fromkeys(("detect", "encode", "refresh", "publish"), 1.0)})
    statements: dict[str, dict[str, Any]] = {
        f"insert into ledger_windows select {day}, {at}, {at}, {at}, {json_of.format('window')} from ({{days}}) d": {
            "window": window
        },
        f"insert into ledger_buckets select {day}, b.n, 0, :digest, {json_of.format('counts')}, "
        f"{json_of.format('files')}, {at} from ({{days}}) d, ({{buckets}}) b order by d.n, b.n": {
            "digest": DIGEST,
            "counts": json.dumps(COUNTS),
            "files": json.dumps(_files()),
        },
        f"insert into ledger_heads select b.n, {last}, :digest, 0, 1, {json_of.format('scenarios')}, "
        f"{json_of.format('modalities')} from ({{buckets}}) b": {
            "digest": DIGEST,
            "scenarios": json.dumps(FINGERPRINTS),
            "modalities": json.dumps(dict.fromkeys(MODALITIES, DIGEST)),
        },
        **{
            "insert into ledger_partitions (modality, ds, source_token, source_digest, declaration, events_file, "
            f"num_rows, num_rejected, num_bytes, recorded_at, num_erased) select '{name}', {day}, :digest, :digest, "
            f"'d', '0123456789abcdef0123456789abcdef-01234567.parquet', 1, 0, 1, {at}, 0 from ({{days}}) d": {
                "digest": DIGEST[:32]
            }
            for name in MODALITIES
        },
    }
    series = "select n from generate_series(0, {0} - 1) n" if is_postgres else _SERIES
    with engine.begin() as connection:
        for statement, bound in statements.items():
            days, buckets = series.format(num_days), series.format(num_buckets)
            connection.execute(text(statement.format(days=days, buckets=buckets)), bound)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze"))


_SERIES = "with recursive s(n) as (select 0 union all select n + 1 from s where n < {0} - 1) select n from s"


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    """A new SQLite file, or a new database of a server."""
    if url is None:
        with TemporaryDirectory(prefix="updater-bench-") as root:
            yield f"sqlite:///{root}/ledger.db"
        return
    server, name = create_engine(url, isolation_level="AUTOCOMMIT"), f"updater_bench_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f"create database {name} template template0 encoding 'UTF8'"))
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))


def main() -> None:
    """Measure one database and print the table as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.ledger", description=__doc__)
    parser.add_argument("--url", help="a PostgreSQL server; SQLite if left out")
    parser.add_argument("--buckets", type=int, default=NUM_BUCKETS)
    parser.add_argument("--days", type=int, default=NUM_DAYS)
    given = parser.parse_args()
    with _database(given.url) as url:
        print(json.dumps(measure(url, given.buckets, given.days), indent=1))


if __name__ == "__main__":
    main()
