"""Embeddings and answers of many users: the same as of one, in a file that appears whole."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from updater.cli import main
from updater.domain.buckets import bucket_of
from updater.errors import NotFoundError
from updater.pipeline import query
from updater.pipeline.daily.bucket_values import read_buffer
from updater.pipeline.erase.run import erase
from updater.pipeline.query_file import embed_to_parquet
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.users.event_batches import user_batch

DAY = date(2024, 5, 1)
USERS = [f"u{number:02}" for number in range(11)]
MODALITIES = [{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}]
ERASED, UNKNOWN = "wiped", ["nobody", "no one"]
QUERY = "Will this user buy milk?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment.create(
        tmp_path_factory.mktemp("query"),
        answers=True,
        modalities=MODALITIES,
        buffer={"num_buckets": 3},
        run={"processes": 1, "users_per_batch": 2},
    )
    rows = [
        bill(user, f"e{event}", f"2024-05-01 {event:02}:00:00", category=f"thing {(number + event) % 5}", amount=event)
        for number, user in enumerate(USERS)
        for event in range(1 + number)
    ]
    land_rows(made.lake, "bill", DAY, rows)
    made.run([DAY])
    erase(made.context, [ERASED])
    return made


def call(made: Deployment, *args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["user", "embed", *args, "--config", str(made.settings.source)], input=stdin)


@pytest.mark.parametrize(
    ("asked", "processes", "per_read"),
    [({"query": QUERY}, 1, 4096), ({"scenario": "lapse"}, 1, 3), ({"query": QUERY}, 2, 2)],
    ids=["query", "scenario", "processes"],
)
def test_many_users_have_the_bits_of_one_at_a_time(
    made: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    processes: int,
    per_read: int,
) -> None:
    monkeypatch.setattr(query, "USERS_PER_READ", per_read)
    context, file = made.context, str(tmp_path / "out.parquet")
    settings = replace(made.settings, run=replace(made.settings.run, processes=processes))
    with ProcessPool(settings, context.now) as pool:
        report = embed_to_parquet(
            context, pool, [*USERS, *USERS], asked.get("query"), asked.get("scenario"), file, lambda *_: None
        )
    rows = {row["user_id"]: row for row in pq.read_table(file).to_pylist()}
    assert (report.num_users, report.missing) == (len(USERS), "")
    assert report.num_answered == (len(USERS) if "query" in asked else 0)
    assert set(rows) == set(USERS)
    for user in USERS:
        alone = made.embed(user, **asked)
        row = rows[user]
        assert np.array(row["embedding"], np.float32).tobytes() == np.array(alone.embedding, np.float32).tobytes()
        assert (row["query"], row["scenario"], row["answer"]) == (alone.query, alone.scenario, alone.answer)
        assert (row["as_of"].isoformat(), row["model_version"]) == (alone.as_of, alone.model)
    # What a tuned prompt changes, the map to answers was not trained for.
    assert len({row["answer"] for row in rows.values()} - {None}) == report.num_answered


class LastFirst(ProcessPool):
    """Two processes, of which the one with the later job is always done first."""

    def __init__(self, made: Deployment) -> None:
        super().__init__(replace(made.settings, run=replace(made.settings.run, processes=2)), made.now)

    def map(self, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        yield from reversed([(index, work(*job)) for index, job in enumerate(jobs)])


def test_rows_lie_by_bucket_and_user_whoever_is_done_first(
    made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "USERS_PER_READ", 2)
    file, asked = tmp_path / "out.parquet", [*UNKNOWN, *reversed(USERS)]
    report = embed_to_parquet(made.context, LastFirst(made), asked, QUERY, None, str(file))
    by_bucket = sorted([*USERS, *UNKNOWN], key=lambda user: (bucket_of(user, 3), user))
    assert pq.read_table(file)["user_id"].to_pylist() == [user for user in by_bucket if user in USERS]
    assert report.unknown == [user for user in by_bucket if user in UNKNOWN]


def test_the_columns_and_what_a_scenario_gives_is_what_was_published(made: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    ids = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"who": USERS}), ids)
    done = call(
        made, "--users-file", str(ids), "--users-column", "who", "--scenario", "lapse", "--output", str(file), "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_users"] == len(USERS)
    table = pq.read_table(file)
    assert table.schema.names == ["user_id", "scenario", "query", "as_of", "model_version", "embedding", "answer"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table.schema.field("answer").type == pa.float32()
    published = {row["user_id"]: row["lapse_embedding"] for row in made.offline_rows("lapse_v1", DAY)}
    found = {row["user_id"]: row["embedding"] for row in table.to_pylist()}
    assert found == published
    assert table["as_of"][0].as_py() == made.context.window(DAY).as_of.astimezone(UTC)


def test_users_without_an_embedding_are_counted_and_named(made: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    text = "\n".join([*UNKNOWN, ERASED, *USERS]).encode("utf-16")
    done = call(made, "--users-file", "-", "--query", QUERY, "--output", str(file), stdin=text)
    assert done.exit_code == 0, done.output
    assert f"Wrote the embeddings and answers of {len(USERS)} users" in done.stdout
    assert "null" not in done.stdout
    said = " ".join(done.stdout.split())
    assert "2 users ('no one', 'nobody') have no stream event" in said
    assert f"user '{ERASED}' was erased" in said
    assert pq.read_table(file).num_rows == len(USERS)


def test_what_is_printed_of_one_user(made: Deployment) -> None:
    answer = made.embed(USERS[3], QUERY).answer
    assert answer is not None
    done = call(made, "--user-id", USERS[3], "--query", QUERY)
    assert f"\nanswer  {answer:+.4f}  (log odds" in done.stdout
    assert json.loads(call(made, "--user-id", USERS[3], "--query", QUERY, "--json").stdout)["answer"] == answer
    done = call(made, "--user-id", USERS[3], "--scenario", "lapse")
    assert (done.exit_code, "answer" in done.stdout) == (0, False)
    assert json.loads(call(made, "--user-id", USERS[3], "--scenario", "lapse", "--json").stdout)["answer"] is None


def test_an_answer_is_that_of_the_model_s_map(made: Deployment) -> None:
    context = made.context
    with Session(context) as session:
        read = read_buffer(context, session, context.window(DAY), [bucket_of(USERS[3], 3)], [USERS[3]])
        told = session.inference.answers(user_batch(read.events, np.array([0])), [QUERY])
    assert told.shape == (1, 1, 5)
    assert made.embed(USERS[3], QUERY).answer == told[0, 0, 0].item()


def test_a_model_that_was_not_trained_to_answer_says_so(tmp_path: Path) -> None:
    plain = Deployment.create(tmp_path / "plain", modalities=MODALITIES)
    land_rows(plain.lake, "bill", DAY, [bill("ann", "e1", "2024-05-01 09:00:00", category="x", amount=1)])
    plain.run([DAY])
    assert (
        "\nanswer  none; the model was not trained to answer\n"
        in call(plain, "--user-id", "ann", "--query", "q").stdout
    )
    assert plain.embed("ann", QUERY).answer is None
    for asked, said in (
        (("--query", QUERY), "The column answer is null; the model was not"),
        (("--scenario", "lapse"), ""),
    ):
        done = call(plain, "--user-id", "ann", *asked, "--output", str(tmp_path / "out.parquet"))
        assert "Wrote the embeddings of 1 users" in done.stdout
        assert (said in done.stdout, "null" in done.stdout) == (True, bool(said))
        assert pq.read_table(tmp_path / "out.parquet")["answer"].to_pylist() == [None]


def test_a_file_appears_whole_or_not_at_all(made: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    done = call(made, "--user-id", "nobody", "--query", QUERY, "--output", str(file))
    assert (done.exit_code, "User 'nobody' has no stream event" in done.stderr) == (10, True)
    assert list(tmp_path.iterdir()) == []
    file.write_bytes(b"what was there")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    context = made.context
    with ProcessPool(made.settings, context.now) as pool, pytest.raises(KeyboardInterrupt):
        embed_to_parquet(context, pool, USERS, QUERY, None, str(file), fail)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert file.read_bytes() == b"what was there"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--user-id", "a", "--user-id", "b", "--query", "q"), 2, "with --output a file"),
        (("--query", "q"), 2, "Name one user"),
        (("--query", "q", "--output", "x.parquet"), 2, "No user is named; give --user-id or --users-file"),
        (("--user-id", "a", "--query", "q", "--output", "/dev/null/x"), 2, "/dev/null/x cannot be written"),
        (("--user-id", "a", "--query", "q", "--output", "/"), 2, "it is a directory"),
        (("--user-id", "a", "--output", "x.parquet"), 2, "Ask one question"),
        (("--user-id", "a", "--scenario", "churn"), 10, "known: lapse"),
        (("--user-id", "a", "--query", "q", "--device", "cuda"), 2, "PyTorch sees no CUDA device here"),
        (("--user-id", "a", "--query", "q", "--device", "tpu"), 2, "--device is 'tpu'; use 'cpu', 'cuda', 'cuda:N'"),
    ],
)
def test_what_cannot_be_asked(made: Deployment, args: tuple[str, ...], code: int, said: str) -> None:
    done = call(made, *args)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output
    assert not Path("x.parquet").exists()


def test_python_keeps_the_order_of_the_users(made: Deployment) -> None:
    from updater.api import Deployment as Store

    store = Store(made.settings, datetime(2024, 6, 1, tzinfo=UTC))
    wanted = [*reversed(USERS), USERS[0]]
    assert [one.user_id for one in store.embed(wanted, scenario="lapse")] == wanted
    with pytest.raises(NotFoundError, match="2 users"):
        store.embed([*USERS, *UNKNOWN], query=QUERY)
