"""What a verification finds, for a sample and for everybody, and what a sample costs."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment
from tests.factories import SCENARIOS, bill, land_rows
from updater.lake import partitions
from updater.pipeline.daily import detect
from updater.pipeline.daily.publish import materialise
from updater.pipeline.init import initialise
from updater.pipeline.monitor import verify as verification
from updater.pipeline.monitor.verify import verify, verify_recomputed
from updater.pipeline.monitor.verify_sample import Sampler
from updater.settings import load_settings

FIRST = date(2024, 3, 1)
MODALITIES: list[dict[str, Any]] = [
    {"name": "bill", "text": "{category} at {merchant}", "numeric": ["amount"], "max_events": 3}
]
SHAPE: dict[str, Any] = {"modalities": MODALITIES, "scenarios": SCENARIOS[:1], "buffer": {"days": 4, "num_buckets": 3}}


def make(root: Path, num_users: int, num_days: int = 2, **overrides: Any) -> Deployment:
    """Everybody buys on the first day, and every second user on each day after it."""
    made = Deployment.create(root, **{**SHAPE, **overrides})
    for day in range(num_days):
        ds = FIRST + timedelta(days=day)
        users = range(0, num_users, 2 if day else 1)
        rows = [bill(f"u{n:06}", f"{n}-{day}", f"{ds} 10:00", amount=float(n % 7)) for n in users]
        land_rows(made.lake, "bill", ds, rows)
    made.run([FIRST + timedelta(days=day) for day in range(num_days)])
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    yield make(tmp_path_factory.mktemp("whole"), 24)


@pytest.fixture
def made(tmp_path: Path, whole: Deployment) -> Deployment:
    """A copy of a deployment, to break."""
    root = whole.settings.source.parent
    for name in ("lake", "state"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "updater.toml", tmp_path / "updater.toml")
    settings = load_settings(tmp_path / "updater.toml", environ={})
    initialise(settings)
    return Deployment(settings)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, values: Callable[[pa.Table], Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index(name)
        return table.set_column(
            position, table.schema.field(name), pa.array(values(table), table.schema.field(name).type)
        )

    return change


def test_a_sample_and_everybody_agree_on_a_sound_state(whole: Deployment) -> None:
    everybody, some = verify(whole.context, None), verify(whole.context, 7)
    assert (everybody.differences, some.differences) == ([], [])
    assert (everybody.users, some.users) == (24, 7)
    assert everybody.partitions == some.partitions == 2
    assert verify(whole.context, 1000).users == 24, "a larger sample than there are users is everybody"
    assert verify(whole.context, 1).users == 1


def test_a_sample_is_the_same_on_a_day_and_another_on_the_next(tmp_path: Path) -> None:
    made = make(tmp_path, 60)
    context = made.context
    days = [FIRST + timedelta(days=number) for number in range(12)]
    chosen = [Sampler(context, context.window(ds)).choose(3) for ds in days]
    assert chosen == [Sampler(context, context.window(ds)).choose(3) for ds in days]
    found = {user for by_bucket in chosen for users in by_bucket.values() for user in users}
    assert len(found) > 12, "over some days a sample gets round"


@pytest.mark.parametrize("sample", [24, None])
@pytest.mark.parametrize("where", ["lake", "events", "summaries", "embedding", "fingerprint", "online", "texts"])
def test_a_wrong_value_is_found(made: Deployment, where: str, sample: int | None) -> None:
    day = f"ds={FIRST}"
    state, lake = made.state, Path(made.lake)

    def files(*parts: str) -> list[Path]:
        return sorted(state.joinpath(*parts).glob("*.parquet"))

    more: Callable[[pa.Table], Any] = lambda table: pc.add(table["amount"], 1.0)  # noqa: E731
    if where == "lake":
        rewrite(lake / "bill" / day / "part-000.parquet", with_column("amount", more))
        expected = "differ from the lake's"
    elif where == "events":
        for path in files("events", "bill", day):
            rewrite(path, with_column("numeric_0", lambda table: pc.add(table["numeric_0"], 1.0)))
        expected = "differ from the lake's"
    elif where == "summaries":
        for path in files("summaries", day):
            rewrite(path, with_column("num_events", lambda table: pc.add(table["num_events"], 1)))
        expected = "The bill summary of user"
    elif where == "embedding":
        for path in files("offline", "lapse_v1", day):
            changed = lambda table: [list(np.negative(v)) for v in table["lapse_embedding"].to_pylist()]  # noqa: E731
            rewrite(path, with_column("lapse_embedding", changed))
        expected = "The lapse embedding of user"
    elif where == "fingerprint":
        for path in files("offline", "modality_summaries", day):
            rewrite(path, with_column("prefix_fingerprint", lambda table: ["2-00"] * table.num_rows))
        expected = "The prefix of user"
    elif where == "online":
        with sqlite3.connect(state / "online.db") as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master where name like '%lapse_v1'")]
            database.execute(f'delete from "{tables[0]}"')
        expected = "differs between the online store and the offline rows"
    else:
        for path in (state / "texts").rglob("*.arrow"):
            table = pa.ipc.open_file(path.read_bytes()).read_all()
            zeros = pa.array(np.zeros(len(table["vector"].combine_chunks().flatten()), np.float16))
            vectors = pa.FixedSizeListArray.from_arrays(zeros, table.schema.field("vector").type.list_size)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(pa.table({"text_id": table["text_id"], "vector": vectors}))
        expected = "The stored vector of text"
    assert any(expected in line for line in verify(made.context, sample).differences)


@pytest.mark.parametrize("sample", [24, None])
def test_a_user_that_the_state_lacks_is_found(made: Deployment, sample: int | None) -> None:
    for path in made.state.joinpath("summaries").rglob("*.parquet"):
        rewrite(path, lambda table: table.filter(pc.not_equal(table["user_id"], "u000005")))
    assert any("'u000005'" in line for line in verify(made.context, sample).differences)


def test_a_sample_reads_what_a_sample_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "EVENT_ROWS", 64)
    monkeypatch.setattr(partitions, "VECTOR_GROUP_ROWS", 32)
    monkeypatch.setattr(partitions, "GROUP_ROWS", 64)
    lookups = []
    monkeypatch.setattr(verification, "Sampler", lambda *args: lookups.append(Sampler(*args)) or lookups[-1])
    for num_users in (400, 4000):
        made = make(tmp_path / str(num_users), num_users, 1)
        report = verify(made.context, 8, lake_bytes=0)
        assert (report.users, report.partitions, report.differences) == (8, 0, [])
    few, many = (sampler.lookup.rows_read for sampler in lookups)
    assert many < 1.25 * few


def test_recomputed_users_are_verified_before_they_are_online(made: Deployment) -> None:
    ds = FIRST + timedelta(days=1)
    report = verify_recomputed(made.context, made.context.window(ds), 5)
    assert (report.users, report.online_values, report.differences) == (5, 0, [])
    materialise(made.context, made.context.window(ds))
