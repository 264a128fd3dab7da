"""What a verification finds, for a sample and for everybody, and what a sample costs."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.deployment import PROFILES, Deployment
from tests.factories import SCENARIOS, bill, land_rows, utc
from updater.cli import main
from updater.domain.window import Window
from updater.errors import VerificationError
from updater.lake import partitions
from updater.pipeline import steps
from updater.pipeline.daily import window as daily
from updater.pipeline.daily.intake import land as landing
from updater.pipeline.daily.publishing import publish
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.pipeline.monitor import verify as verification
from updater.pipeline.monitor.verify import verify, verify_recomputed
from updater.pipeline.monitor.verify_sample import Sampler
from updater.runtime.deployment import Context
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.access import online_rows
from updater.store.repository.connecting import open_store

FIRST = date(2024, 3, 1)
SECOND = FIRST + timedelta(days=1)
MODALITIES: list[dict[str, Any]] = [
    {"name": "bill", "text": "{category} at {merchant}", "numeric": ["amount"], "max_events": 3}
]
BUFFER = {"days": 4, "num_buckets": 3}
SHAPE: dict[str, Any] = {"modalities": MODALITIES, "scenarios": SCENARIOS[:1], "buffer": BUFFER, **PROFILES}


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
    initialize(settings)
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


@pytest.mark.slow
def test_several_processes_find_what_one_finds(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    day = f"ds={FIRST}"
    rewrite(
        Path(made.lake) / "bill" / day / "part-000.parquet", with_column("amount", lambda t: pc.add(t["amount"], 1))
    )
    for path in sorted(made.state.joinpath("summaries", day).glob("*.parquet")):
        rewrite(path, with_column("num_events", lambda table: pc.add(table["num_events"], 1)))
    alone = verify(made.context, None)
    assert len(alone.differences) > 2
    settings = replace(made.settings, run=replace(made.settings.run, processes=2))
    monkeypatch.setattr(verification, "MANY_ROWS", 0)
    jobs = []
    real = ProcessPool.map
    monkeypatch.setattr(
        ProcessPool, "map", lambda pool, work, given: jobs.append(len(given)) or real(pool, work, given)
    )
    assert verify(replace(made.context, settings=settings), None) == alone
    assert jobs == [1, 3], "the lake, and a job for each bucket"


@pytest.mark.parametrize("sample", [24, None])
def test_a_user_that_the_state_lacks_is_found(made: Deployment, sample: int | None) -> None:
    for path in made.state.joinpath("summaries").rglob("*.parquet"):
        rewrite(path, lambda table: table.filter(pc.not_equal(table["user_id"], "u000005")))
    assert any("'u000005'" in line for line in verify(made.context, sample).differences)


def test_a_sample_reads_what_a_sample_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "EVENT_ROWS", 64)
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


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """One day is online; on the next, embeddings go wrong between the refresh and the online store."""
    made = make(tmp_path, 8, 1, run={"verify_before_publish": 3})
    land_rows(made.lake, "bill", SECOND, [bill(f"u{n:06}", f"{n}-1", f"{SECOND} 10:00") for n in range(8)])
    right = publish.publish

    def spoil(context: Context, window: Window) -> dict[str, int]:
        counts = right(context, window)
        for path in made.state.glob(f"offline/lapse_v1/ds={SECOND}/*.parquet"):
            rewrite(path, with_column("lapse_embedding", negative))
        return counts

    with monkeypatch.context() as patch:
        patch.setattr(daily, "publish", spoil)
        yield made


def constant(values: list[Any], _: pa.Table) -> list[Any]:
    return values


def negative(table: pa.Table) -> list[Any]:
    return [list(np.negative(vector)) for vector in table["lapse_embedding"].to_pylist()]


def served(made: Deployment) -> list[Any]:
    users = [f"u{n:06}" for n in range(8)]
    return online_rows(open_store(made.settings), users, ["lapse_v1:lapse_embedding", "lapse_v1:lapse_as_of"])[
        "lapse_embedding"
    ]


def test_a_day_that_is_wrong_does_not_go_online(stopped: Deployment) -> None:
    before = served(stopped)
    command = ["run", "--ds", str(SECOND), "--config", str(stopped.settings.source)]
    failed = CliRunner().invoke(main, command)
    assert failed.exit_code == VerificationError.exit_code
    assert f"{SECOND} is not online and not committed" in failed.output
    assert served(stopped) == before
    assert stopped.context.ledger.watermark() == FIRST

    for path in stopped.state.glob(f"offline/lapse_v1/ds={SECOND}/*.parquet"):
        rewrite(path, with_column("lapse_embedding", negative))  # as it was
    with ProcessPool(stopped.settings, stopped.now) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily, "publish", publish.publish)
        report = run_window(stopped.context, pool, SECOND)
    assert "verify" in report.seconds
    assert served(stopped) != before
    assert verify(stopped.context, None).differences == []


def test_airflow_brings_no_wrong_day_online_either(stopped: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served(stopped)
    monkeypatch.setenv("UPDATER_CONFIG", str(stopped.settings.source))
    steps.detect(str(SECOND), "bill")
    steps.encode(str(SECOND), "bill")
    for buckets in steps.bucket_groups(str(SECOND), 2):
        steps.refresh(str(SECOND), buckets)
    steps.publish(str(SECOND))
    with pytest.raises(VerificationError, match="is not online and not committed"):
        steps.materialize(str(SECOND))
    assert served(stopped) == before


def test_recomputed_users_are_verified_without_the_online_store(whole: Deployment) -> None:
    report = verify_recomputed(whole.context, whole.context.window(SECOND), 5)
    assert (report.users, report.online_values, report.differences) == (5, 0, [])


@pytest.mark.parametrize(("mark", "differs"), [("3-" + "0" * 32, False), ("0" * 32, False), ("4-" + "0" * 32, True)])
def test_fingerprints_of_earlier_recipes_are_not_compared(made: Deployment, mark: str, differs: bool) -> None:
    """A row that was written when fingerprints were made otherwise, as of a user who has not changed since."""
    for number in range(3):
        [path] = made.state.glob(f"offline/modality_summaries/ds={FIRST}/bucket-{number:03}.parquet")
        marks = [mark] * pq.read_table(path).num_rows
        rewrite(path, with_column("prefix_fingerprint", partial(constant, marks)))
    differences = verify(made.context, None).differences
    assert any(line.startswith("The prefix") for line in differences) == differs
    assert differences, "the rows were changed after they went online"


def test_a_fingerprint_covers_all_that_a_prefix_is_made_from(tmp_path: Path) -> None:
    def mark(name: str, **changed: Any) -> str:
        """The fingerprint of a user with five events, of which three become tokens; the oldest is changed."""
        made = Deployment.create(tmp_path / name, **SHAPE)
        rows = [bill("u", f"e{n}", f"{FIRST} 1{n}:00", amount=0.0) for n in range(5)]
        land_rows(made.lake, "bill", FIRST, [{**rows[1], **changed}, rows[0], *rows[2:]])
        made.run([FIRST])
        [row] = made.offline_rows("modality_summaries", FIRST)
        return str(row["prefix_fingerprint"])

    plain = mark("plain")
    assert mark("again") == plain
    assert mark("time", event_time=utc(f"{FIRST} 11:30")) != plain
    assert mark("text", category="fish") != plain
    assert mark("number", amount=1.0) != plain
