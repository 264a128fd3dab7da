"""A question about everybody: the bits of one user at a time, whatever kills it, and nobody who was erased."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from signal import SIGKILL

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from tests.processes import fork_updater
from updater.cli import main
from updater.pipeline.asking import everybody
from updater.pipeline.asking.everybody import embed_everybody
from updater.pipeline.erase.run import erase
from updater.runtime.crash_points import EMBEDDING_WRITES, VARIABLE
from updater.runtime.process_pool import ProcessPool

DAY = date(2024, 5, 1)
USERS = [f"u{number:02}" for number in range(11)]
ERASED = "wiped"
QUERY = "Will this user buy milk?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment.create(
        tmp_path_factory.mktemp("everybody"),
        answers=True,
        modalities=[{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}],
        buffer={"num_buckets": 3, "days": 5},
        run={"processes": 1, "users_per_batch": 2},
    )
    rows = [
        bill(user, f"e{event}", f"2024-05-01 {event:02}:00:00", category=f"thing {(number + event) % 5}", amount=event)
        for number, user in enumerate([*USERS, ERASED])
        for event in range(1 + number)
    ]
    land_rows(made.lake, "bill", DAY, [*rows, bill("gone", "old", "2024-04-27 09:00:00", category="x", amount=1)])
    land_rows(made.lake, "bill", date(2024, 5, 2), [bill("u00", "e9", "2024-05-02 09:00:00", category="y", amount=2)])
    made.run([DAY, date(2024, 5, 2)])
    erase(made.context, [ERASED])
    return made


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everybody, "FEWEST_PER_PART", 4)


def ask(made: Deployment, file: Path, progress=lambda *_: None, **asked: str):
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        return embed_everybody(context, pool, asked.get("query"), asked.get("scenario"), str(file), progress)


@pytest.mark.parametrize("asked", [{"query": QUERY}, {"scenario": "lapse"}], ids=["query", "scenario"])
def test_everybody_has_the_bits_of_one_at_a_time(made: Deployment, tmp_path: Path, asked: dict[str, str]) -> None:
    seen: list[tuple[int, int]] = []
    report = ask(made, tmp_path / "all.parquet", lambda _, done, total: seen.append((done, total)), **asked)
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    # Whose event fell out of the buffer, and who was erased, is not everybody.
    assert sorted(row["user_id"] for row in rows) == USERS
    assert (report.num_users, report.num_kept, report.missing) == (len(USERS), 0, "")
    assert report.num_answered == (len(USERS) if "query" in asked else 0)
    for row in rows:
        alone = made.embed(row["user_id"], **asked)
        assert (row["embedding"], row["answer"]) == (alone.embedding, alone.answer)
        assert (alone.answer is None) == ("scenario" in asked)
        assert (row["query"], row["scenario"], row["model_version"]) == (alone.query, alone.scenario, alone.model)
    assert seen[-1] == (len(USERS), len(USERS))
    assert len({done for done, _ in seen}) > 3, "it is said part by part"
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_an_attempt_that_ended_early_is_resumed_to_the_same_bytes(
    made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, file = tmp_path / "whole.parquet", tmp_path / "all.parquet"
    ask(made, whole, query=QUERY)

    def stop_after_four(_: str, done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(made, file, stop_after_four, query=QUERY)
    assert not file.exists()
    computed: list[str] = []
    answer = everybody.answer_users
    monkeypatch.setattr(everybody, "answer_users", lambda *job: computed.extend(job[-1]) or answer(*job))
    assert ask(made, file, query=QUERY).num_kept == 4
    assert len(computed) == len(USERS) - 4
    assert file.read_bytes() == whole.read_bytes()
    # Of another question nothing is taken over.
    with pytest.raises(KeyboardInterrupt):
        ask(made, file, stop_after_four, query="Another?")
    assert ask(made, file, query=QUERY).num_kept == 0
    # Nor of an earlier version of the program, whose parts had other columns.
    with monkeypatch.context() as earlier, pytest.raises(KeyboardInterrupt):
        earlier.setattr(everybody, "SCHEMA", everybody.SCHEMA.remove(everybody.SCHEMA.names.index("answer")))
        ask(made, file, stop_after_four, query=QUERY)
    assert ask(made, file, query=QUERY).num_kept == 0
    assert file.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.parquet", "whole.parquet"]


class Backwards:
    """A pool of three processes, of which the last one is always done first."""

    num_processes = 3

    def map(self, work, jobs):
        for index, job in reversed([*enumerate(jobs)]):
            yield index, work(*job)


def test_rows_do_not_depend_on_who_is_done_first(made: Deployment, tmp_path: Path) -> None:
    ask(made, tmp_path / "one.parquet", query=QUERY)
    embed_everybody(made.context, Backwards(), QUERY, None, str(tmp_path / "three.parquet"))
    assert (tmp_path / "three.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


class Killed(BaseException):
    """As a signal, it is not handled by anybody."""


def test_ended_at_any_write(made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, file = tmp_path / "whole.parquet", tmp_path / "all.parquet"
    ask(made, whole, query=QUERY)
    for point in [f"{when}:{write}" for write in EMBEDDING_WRITES for when in ("before", "after")]:

        def die(reached: str, point: str = point) -> None:
            if reached == point:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("updater.runtime.crash_points.reach", die)
            ask(made, file, query=QUERY)
        file.unlink(missing_ok=True)
        assert ask(made, file, query=QUERY).num_users == len(USERS)
        assert file.read_bytes() == whole.read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["all.parquet", "whole.parquet"], point


def test_killed_by_the_kernel_and_run_again(made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everybody, "FEWEST_PER_PART", 256)
    file = tmp_path / "all.parquet"
    args = ["user", "embed", "--all", "--query", QUERY, "--output", str(file), "--config", str(made.settings.source)]
    assert fork_updater(*args, env={VARIABLE: "after:part"}).exit_code == -SIGKILL
    assert not file.exists()
    done = CliRunner().invoke(main, [*args, "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["num_users"], report["num_kept"]) == (0, len(USERS), len(USERS))
    done = CliRunner().invoke(main, args)
    assert f"Wrote the embeddings and answers of {len(USERS)} users" in done.stdout
    assert "An earlier run" not in done.stdout


def test_who_is_erased_meanwhile_is_in_no_row(tmp_path: Path) -> None:
    made = Deployment.create(
        tmp_path / "deployment",
        modalities=[{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}],
        buffer={"num_buckets": 1},
        run={"processes": 1},
    )
    rows = [bill(user, "e1", "2024-05-01 09:00:00", category="x", amount=1) for user in USERS]
    land_rows(made.lake, "bill", DAY, rows)
    made.run([DAY])
    context, file = made.context, tmp_path / "all.parquet"

    def erase_after_the_last_part(_: str, done: int, total: int) -> None:
        if done == total:
            erase(context, [USERS[0]])

    assert ask(made, file, erase_after_the_last_part, query=QUERY).num_users == len(USERS) - 1
    assert sorted(pq.read_table(file)["user_id"].to_pylist()) == USERS[1:]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--all", "--query", "q"), 2, "with --output a file"),
        (("--all", "--user-id", "a", "--query", "q", "--output", "x.parquet"), 2, "--all is everybody"),
        (("--all", "--output", "x.parquet"), 2, "Ask one question"),
        (("--all", "--query", "q", "--output", "/dev/null/x"), 2, "/dev/null/x cannot be written"),
        (("--all", "--query", "q", "--output", "/"), 2, "it is a directory"),
    ],
)
def test_what_cannot_be_asked(made: Deployment, args: tuple[str, ...], code: int, said: str) -> None:
    done = CliRunner().invoke(main, ["user", "embed", *args, "--config", str(made.settings.source)])
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_from_python(made: Deployment, tmp_path: Path) -> None:
    from updater.api import Deployment as Store

    file = tmp_path / "all.parquet"
    report = Store(made.settings, datetime(2024, 6, 1, tzinfo=UTC)).embed_everybody(str(file), query=QUERY)
    assert (report.num_users, pq.read_table(file).num_rows) == (len(USERS), len(USERS))
