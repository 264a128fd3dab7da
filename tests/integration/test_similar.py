"""Look-alikes out of a published state: those of the vectors that Feast serves, and nobody who left."""

import json
from datetime import UTC, date, datetime

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from updater.cli import main
from updater.pipeline.erase.run import erase

DAYS = [date(2024, 5, 1), date(2024, 5, 2)]
USERS = [f"u{number:02}" for number in range(12)]
ERASED = "wiped"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment.create(
        tmp_path_factory.mktemp("similar"),
        modalities=[{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}],
        buffer={"num_buckets": 3, "days": 5},
        run={"processes": 1},
    )
    rows = [
        bill(user, f"e{event}", f"2024-05-01 {event:02}:00:00", category=f"thing {(number + event) % 5}", amount=event)
        for number, user in enumerate([*USERS, ERASED])
        for event in range(1 + number % 6)
    ]
    # `twin` has what u03 has, to the letter; `gone` has nothing any more at the end.
    twin = [{**row, "user_id": "twin"} for row in rows if row["user_id"] == "u03"]
    gone = bill("gone", "old", "2024-04-27 09:00:00", category="x", amount=1)
    land_rows(made.lake, "bill", DAYS[0], [*rows, *twin, gone])
    land_rows(made.lake, "bill", DAYS[1], [bill("u00", "e9", "2024-05-02 09:00:00", category="y", amount=2)])
    made.run(DAYS)
    erase(made.context, [ERASED])
    return made


def call(made: Deployment, *args: str) -> Result:
    return CliRunner().invoke(main, ["user", "similar", *args, "--config", str(made.settings.source)])


def newest(made: Deployment) -> dict[str, np.ndarray]:
    rows = [row for ds in DAYS for row in made.offline_rows("lapse_v1", ds)]
    return {row["user_id"]: np.array(row["lapse_embedding"]) for row in rows if row["user_id"] not in ("gone", ERASED)}


def test_the_order_is_that_of_the_published_vectors(made: Deployment) -> None:
    vectors = newest(made)
    for user in ("u00", "u03", "u07"):
        done = call(made, "--user-id", user, "--scenario", "lapse", "--top", "5", "--json")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        cosines = {other: float(vectors[user] @ vectors[other]) for other in vectors if other != user}
        found = [(one["user_id"], one["cosine"]) for one in report["look_alikes"]]
        assert report["num_compared"] == len(cosines) == len(USERS)
        assert [other for other, _ in found] == sorted(cosines, key=lambda other: (-round(cosines[other], 9), other))[
            :5
        ]
        assert [cosine for _, cosine in found] == pytest.approx([cosines[other] for other, _ in found], abs=1e-6)


def test_a_twin_is_first_and_ties_go_by_id(made: Deployment) -> None:
    first = json.loads(call(made, "--user-id", "u03", "--scenario", "lapse", "--top", "1", "--json").stdout)
    assert first["look_alikes"] == [{"user_id": "twin", "cosine": pytest.approx(1.0, abs=1e-12)}]
    everybody = json.loads(call(made, "--user-id", "u05", "--scenario", "lapse", "--json").stdout)["look_alikes"]
    order = [one["user_id"] for one in everybody]
    assert order.index("u03") == order.index("twin") + 1
    assert len(everybody) == len(USERS)
    assert not {"u05", "gone", ERASED} & set(order)


def test_a_table_for_people_and_python(made: Deployment) -> None:
    from updater.api import Deployment as Store

    done = call(made, "--user-id", "u03", "--scenario", "lapse", "--top", "2")
    assert (done.exit_code, "Nearest of 12 users to u03 for lapse" in done.stdout, "twin" in done.stdout) == (
        0,
        True,
        True,
    )
    report = Store(made.settings, datetime(2024, 6, 1, tzinfo=UTC)).similar("u03", "lapse", top=2)
    assert report.look_alikes[0].user_id == "twin"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--user-id", "nobody", "--scenario", "lapse"), 10, "User 'nobody' has no event"),
        (("--user-id", "gone", "--scenario", "lapse"), 10, "User 'gone' has no event"),
        (("--user-id", ERASED, "--scenario", "lapse"), 10, "was erased"),
        (("--user-id", "u00", "--scenario", "churn"), 10, "known: lapse"),
        (("--user-id", "u00", "--scenario", "lapse", "--top", "0"), 2, "--top"),
        (("--user-id", "", "--scenario", "lapse"), 2, "is empty"),
    ],
)
def test_what_cannot_be_asked(made: Deployment, args: tuple[str, ...], code: int, said: str) -> None:
    done = call(made, *args)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output
