"""Users are erased from every file and store, nobody else's values change, and they do not come back."""

import gc
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment
from tests.factories import land_rows
from tests.integration.store_helpers import STORES, store_options
from tests.strategies import COLUMNS, TOUR, Row
from updater.domain.erasure import erasure_hash
from updater.errors import ConcurrentUpdateError, ConfigError, DataRefusedError, VerificationError
from updater.lake import partitions
from updater.pipeline.compact.run import maintain
from updater.pipeline.daily.dry_run import plan_window
from updater.pipeline.erase.proof import find, raise_if_found
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.plan import plan_restatement
from updater.pipeline.restate.run import restate_range
from updater.runtime.process_pool import ProcessPool

pytestmark = pytest.mark.campaign

GONE, SHORT = "bø 'x/%\" of nobody-else", "7"
LAST = TOUR.windows[-1]


def rows_of(user: str, number: int) -> list[dict[str, Any]]:
    """What `user` does on a day of the tour, as ann did on the second."""
    time = TOUR.landings[1]["bill"][0].event_time + timedelta(days=number - 1)
    return [Row(user, f"e{number}", time, f"secret of {number}", 1.5).values()]


def land(lake: str) -> None:
    """The tour, with two more users who do something on every day, some of it refused."""
    TOUR.land(lake)
    for number, ds in enumerate(TOUR.days):
        for user in (GONE, SHORT):
            part = f"part-of-{len(user)}.parquet"
            land_rows(lake, "bill", ds, rows_of(user, number), columns=COLUMNS, name=part)
            refused = {**rows_of(user, number)[0], "event_id": None}
            land_rows(lake, "search", ds, [refused, *rows_of(user, number)], columns=COLUMNS, name=part)


CONFIG: dict[str, Any] = {
    "buffer": {"num_buckets": 2},
    "limits": {"max_rejected_share": 1.0},
    "profile": {"enabled": True},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """All windows but the last one are done; a copy of lake and state lies beside them."""
    root = tmp_path_factory.mktemp("finished")
    made = Deployment.create(root, **CONFIG)
    land(made.lake)
    made.run(TOUR.windows[:-1])
    for name in ("lake", "state"):
        shutil.copytree(root / name, root / "saved" / name)
    return made


@pytest.fixture
def made(finished: Deployment) -> Deployment:
    """`finished`, put back where the registry says that it is."""
    gc.collect()  # a connection that is closed later would remove the write-ahead log of the database put back
    root = finished.state.parent
    for name in ("lake", "state"):
        shutil.rmtree(root / name)
        shutil.copytree(root / "saved" / name, root / name)
    return finished


def places(made: Deployment, *users: str) -> list[str]:
    return find(made.context, users).places


def others(made: Deployment) -> dict[str, list[dict[str, Any]]]:
    """All rows of offline and summary files that are not of the users who go, by path."""
    found = {}
    for part in ("offline", "summaries"):
        for path in sorted((made.state / part).rglob("*.parquet")):
            rows = pq.ParquetFile(path).read().to_pylist()
            if kept := [row for row in rows if row["user_id"] not in (GONE, SHORT)]:
                found[str(path.relative_to(made.state))] = kept
    return found


@pytest.mark.parametrize("user", [GONE, SHORT])
def test_an_erased_user_is_found_nowhere_and_nobody_else_changes(made: Deployment, user: str) -> None:
    before = others(made)
    found = " ".join(places(made, user))
    for part in ("events", "rejected", "changes", "summaries", "offline", "online store"):
        assert part in found, f"the search must find what is there: {part}"
    with pytest.raises(VerificationError, match="The users are found in") as caught:
        raise_if_found(find(made.context, [user]))
    assert caught.value.findings

    report = erase(made.context, [user])
    assert (report.users, report.unfinished) == (1, 0)
    assert report.rows > 0 < report.online_rows
    assert places(made, user) == []
    assert others(made) == before
    assert verify(made.context, None).differences == []

    made.run([LAST])
    assert places(made, user) == []
    assert verify(made.context, None).differences == []
    bill = made.context.ledger.partition("bill", LAST)
    assert bill is not None and bill.num_erased == 1


def test_erasing_again_finds_nothing_to_do(made: Deployment) -> None:
    erase(made.context, [GONE])
    files = {path: path.stat().st_mtime_ns for path in made.state.rglob("*.parquet")}
    report = erase(made.context, [GONE, GONE])
    assert (report.rows, report.files_rewritten, report.files_removed, report.online_rows) == (0, 0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in made.state.rglob("*.parquet")} == files
    assert len([row for row in made.context.ledger.audit() if row.action == "erase"]) == 1


def test_an_erasure_says_which_ids_it_found_nowhere(made: Deployment) -> None:
    """A typing error is a user who stays; one who was erased before is no error."""
    report = erase(made.context, ["nobody", GONE, "nobody at all", "nobody"])
    assert report.not_found == ["nobody", "nobody at all"]
    assert erase(made.context, [GONE]).not_found == []
    assert erase(made.context, [GONE, "a third"]).not_found == ["a third"]


def test_files_without_the_user_are_not_touched(made: Deployment) -> None:
    named = {path: pq.read_table(path, columns=["user_id"]) for path in made.state.glob("*/**/bucket-*.parquet")}
    untouched = {
        path: path.stat().st_mtime_ns for path, rows in named.items() if GONE not in rows["user_id"].to_pylist()
    }
    assert untouched
    erase(made.context, [GONE])
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def test_the_ledger_keeps_a_hash_and_no_id(made: Deployment) -> None:
    context = made.context
    erase(context, [GONE])
    (row,) = [row for row in context.ledger.audit() if row.action == "erase"]
    erased = context.ledger.erased()
    assert row.subject == {"user_hash": erasure_hash(erased.salt, GONE)}
    assert GONE in erased
    for record in context.ledger.bucket_history(0) + context.ledger.bucket_history(1):
        for name in record.files:
            digest, _, view = name.partition("-")
            root = made.state / "summaries" if view == "summaries" else made.state / "offline" / view
            content = (root / f"ds={record.ds}" / f"bucket-{record.bucket:03d}.parquet").read_bytes()
            assert sha256(content).hexdigest() == digest
    assert {head.digest for head in context.ledger.heads().values()} == {
        record.digest for record in context.ledger.bucket_records(TOUR.windows[-2])
    }


def test_merged_files_are_rewritten_too(made: Deployment) -> None:
    maintain(made.context)
    before, found = others(made), " ".join(places(made, GONE))
    assert "events/bill/merged/" in found and "summaries/span=" in found and "offline/lapse_v1/span=" in found
    erase(made.context, [GONE])
    assert places(made, GONE) == []
    assert others(made) == before
    made.run([LAST])
    maintain(made.context)
    assert places(made, GONE) == []
    assert verify(made.context, None).differences == []


def test_a_question_about_an_erased_user_says_that_it_was_erased(made: Deployment) -> None:
    assert made.embed(GONE, "milk?", None).embedding
    erase(made.context, [GONE])
    with pytest.raises(ConfigError, match=re.escape(f"User {GONE!r} was erased and stays out")):
        made.embed(GONE, "milk?", None)


def test_late_rows_restatements_and_dry_runs_do_not_bring_a_user_back(made: Deployment) -> None:
    erase(made.context, [GONE, SHORT])
    rewritten = TOUR.windows[-2]
    number = TOUR.days.index(rewritten)
    rows = [*rows_of(GONE, number), *rows_of("new one", number)]
    land_rows(made.lake, "bill", rewritten, rows, columns=COLUMNS, name="part-z.parquet")
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        counts = restate_range(context, pool, rewritten, rewritten)
    assert counts["users"] == 1
    plan = plan_window(context, LAST)
    assert not {user["user_id"] for user in plan.users} & {GONE, SHORT}
    made.run([LAST])
    assert places(made, GONE, SHORT) == []
    assert verify(made.context, None).differences == []


def test_a_restatement_that_was_planned_before_goes_on_without_the_user(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten = TOUR.windows[-2]
    number = TOUR.days.index(rewritten)
    rows = [{**rows_of(user, number)[0], "amount": 9.0} for user in (GONE, "new one")]
    land_rows(made.lake, "bill", rewritten, rows, columns=COLUMNS, name="part-z.parquet")
    context = made.context

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with ProcessPool(made.settings, context.now) as pool:
        stale = plan_restatement(context, rewritten, rewritten)
        assert stale is not None and GONE in stale.affected["user_id"].to_pylist()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("updater.ledger.LedgerWriter.record_partition", die)
            restate_range(context, pool, rewritten, rewritten)
        erase(context, [GONE])
        assert places(made, GONE) == []
        with pytest.raises(ConcurrentUpdateError, match="Users were erased while this ran"):
            context.ledger.record_partition(stale.records[0], stale.num_erased)
        assert restate_range(made.context, pool, rewritten, rewritten)["users"] == 1
    made.run([LAST])
    assert places(made, GONE) == []
    assert verify(made.context, None).differences == []


def test_what_killed_commands_and_training_left_is_searched_and_cleaned(made: Deployment) -> None:
    rows = pa.table({"user_id": [GONE, "ann"], "answer": [f"about {GONE}", "about ann"]})
    left = {
        "training/useru/ds=2024-03-29/bucket-000.parquet": rows.replace_schema_metadata({"recipe": "r"}),
        "training/labels-2024/part.parquet": rows,
        "staged/ds=2024-04-01/bucket-001/0123-lapse_v1": rows,
        f"training/useru/.bucket-001.parquet.{'0' * 32}.tmp": rows,
    }
    for name, table in left.items():
        partitions.write_table(str(made.state / name), table)
    unfinished = made.state / f"events/bill/.x.parquet.{'1' * 32}.tmp"
    unfinished.write_bytes(b"PAR1 and no more")
    # Whichever bucket the user is in, the others' files are theirs alone; here both are made to hold the user.
    found = " ".join(places(made, GONE))
    assert all(name in found for name in left) and str(unfinished) in found

    erase(made.context, [GONE])
    assert [place for place in places(made, GONE) if "bucket-00" not in place] == []
    assert not unfinished.exists()
    labels = pq.read_table(made.state / "training/labels-2024/part.parquet")
    assert labels["user_id"].to_pylist() == ["ann"]


def test_a_file_that_cannot_be_read_is_named(made: Deployment) -> None:
    broken = made.state / "training" / "labels.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataRefusedError, match=r"labels\.parquet is not a readable Parquet file"):
        erase(made.context, [GONE])
    assert made.context.ledger.unfinished_erasures() == 1
    broken.unlink()
    assert erase(made.context, [GONE]).unfinished == 0
    assert places(made, GONE) == []


@pytest.mark.parametrize("users", [[], [""], ["\udcff"]])
def test_what_cannot_be_an_id_is_refused(made: Deployment, users: list[str]) -> None:
    for verb in (erase, find):
        with pytest.raises(ConfigError):
            verb(made.context, users)
    assert len(made.context.ledger.erased()) == 0


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A state with another online store, and its ledger and registry where that is, if it can."""
    kind = request.param
    options: dict[str, Any] = {"online_store": store_options(kind, request)}
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
        options |= {"ledger": {"url": url}, "registry": {"url": url}}
    made = Deployment.create(tmp_path, **CONFIG, **options)
    land(made.lake)
    made.run(TOUR.windows[:3])
    yield made


@pytest.mark.parametrize("served", STORES, indirect=True)
def test_every_online_store_forgets(served: Deployment) -> None:
    for user in (GONE, SHORT):
        assert any("online store" in place for place in places(served, user))
        assert erase(served.context, [user]).online_rows > 0
        assert places(served, user) == []
    report = verify(served.context, None)
    assert (report.differences, report.online_values > 0) == ([], True)
    served.run(TOUR.windows[3:4])
    assert places(served, GONE, SHORT) == []
