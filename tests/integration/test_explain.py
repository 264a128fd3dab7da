"""Why a user's embedding is what it is: the bits of a lake that never had what is left out."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment
from tests.factories import bill, land_rows, search, utc
from updater.cli import main
from updater.pipeline.erase.run import erase

pytest.importorskip("jinja2")

DAY = date(2024, 5, 1)
DIRECTION = [0.5, -1.0, 2.0, 0.25, -0.5, 1.0, -2.0, 0.75]
MODALITIES = [
    {"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4},
    {"name": "search", "text": "{query}", "max_events": 4},
    {"name": "app", "kind": "snapshot", "text": "{app}", "max_events": 4},
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "bill": [
        bill("ann", "b1", "2024-04-29 09:00:00", category="milk", amount=2),
        bill("ann", "b2", "2024-04-30 09:00:00", category="milk", amount=3),
        bill("ann", "b3", "2024-05-01 09:00:00", category="[tea] & <b>cake</b>", amount=40),
        bill("bob", "b4", "2024-05-01 09:00:00", category="milk", amount=1),
    ],
    # Its newest event is her newest: what is known of a snapshot is as old as that.
    "search": [
        search("ann", "s1", "2024-05-01 10:00:00", query="cheap flights"),
        search("bob", "s2", "2024-05-01 10:00:00", query="tea"),
    ],
    "app": [
        {"user_id": user, "event_id": "a1", "event_time": utc("2024-05-01"), "app": "maps"} for user in ("ann", "bob")
    ],
}


def deployment(root: Path, without: Iterable[tuple[str, str]] = ()) -> Deployment:
    """The lake without some (modality, event id) of ann."""
    made = Deployment.create(
        root, modalities=MODALITIES, buffer={"days": 5}, run={"processes": 1, "users_per_batch": 3}
    )
    gone = set(without)
    for name, rows in ROWS.items():
        kept = [row for row in rows if row["user_id"] != "ann" or (name, row["event_id"]) not in gone]
        land_rows(made.lake, name, DAY, kept)
    made.run([DAY])
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = deployment(tmp_path_factory.mktemp("explain"))
    erase(made.context, ["wiped"])
    return made


def call(made: Deployment, *args: str) -> Result:
    return CliRunner().invoke(main, ["user", "explain", *args, "--config", str(made.settings.source)])


def explained(made: Deployment, direction: Path | None = None) -> dict[str, Any]:
    along = ("--direction", str(direction)) if direction else ()
    done = call(made, "--user-id", "ann", "--scenario", "lapse", "--json", *along)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def direction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("direction") / "coefficients.npy"
    np.save(path, np.array([DIRECTION]))
    return path


@pytest.mark.parametrize(
    ("kind", "left_out", "picked"),
    [
        ("modalities", [("bill", "b1"), ("bill", "b2"), ("bill", "b3")], {"modality": "bill"}),
        ("modalities", [("search", "s1")], {"modality": "search"}),
        ("modalities", [("app", "a1")], {"modality": "app"}),
        ("texts", [("bill", "b1"), ("bill", "b2")], {"text": "milk"}),
        ("events", [("bill", "b2")], {"event_id": "b2"}),
    ],
    ids=["stream", "newest", "snapshot", "text", "event"],
)
def test_what_is_left_out_is_as_if_it_had_never_landed(
    made: Deployment,
    direction: Path,
    tmp_path: Path,
    kind: str,
    left_out: list[tuple[str, str]],
    picked: dict[str, str],
) -> None:
    report = explained(made, direction)
    [effect] = [one for one in report[kind] if picked.items() <= one.items()]
    whole = np.array(made.embed("ann", scenario="lapse").embedding, np.float64)
    without = np.array(deployment(tmp_path, left_out).embed("ann", scenario="lapse").embedding, np.float64)
    # The last bit of a number of an embedding is 1e-8 and more.
    assert report["score"] == pytest.approx(float(whole @ np.array(DIRECTION)), abs=1e-13)
    assert effect["effect"] == pytest.approx(report["score"] - float(without @ np.array(DIRECTION)), abs=1e-13)
    assert effect["moved"] == pytest.approx(1 - float(whole @ without), abs=1e-13)
    assert effect["moved"] > 0
    assert effect["num_events"] == len(left_out)


def test_everything_is_named_and_the_largest_effect_comes_first(made: Deployment, direction: Path) -> None:
    report = explained(made, direction)
    assert {one["modality"] for one in report["modalities"]} == {"bill", "search", "app"}
    assert {one["text"] for one in report["texts"]} == {"milk", "[tea] & <b>cake</b>", "cheap flights", "maps"}
    events = {one["event_id"]: (one["text"], one["event_time"]) for one in report["events"]}
    assert events["b2"] == ("milk", "2024-04-30T09:00:00+00:00")
    assert events["a1"] == ("maps", None)
    assert (report["num_texts"], report["num_events"], len(events)) == (4, 5, 5)
    for kind in ("modalities", "texts", "events"):
        sizes = [abs(one["effect"]) for one in report[kind]]
        assert sizes == sorted(sizes, reverse=True)
    assert explained(made, direction) == report


def test_for_people_and_as_a_page(made: Deployment, direction: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "why.html"
    asked = ("--user-id", "ann", "--scenario", "lapse", "--direction", str(direction))
    done = call(made, *asked, "--top", "2", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "Texts left out, 4 in all" in done.stdout
    assert "not causes and do not add up" in done.stdout and f"Wrote {page}." in done.stdout.replace("\n", "")
    said = page.read_text(encoding="utf-8")
    assert "[tea] &amp; &lt;b&gt;cake&lt;/b&gt;" in said
    assert "<b>cake" not in said
    for word in ("Not a cause", "Not a sum", "<svg", "untrained", "All 4 texts are shown."):
        assert word in said
    again = tmp_path / "again.html"
    call(made, *asked, "--html", str(again))
    assert again.read_bytes() == page.read_bytes()


def test_from_python_along_the_embedding_itself(made: Deployment) -> None:
    from updater.api import Deployment as Store

    store = Store(made.settings, datetime(2024, 6, 1, tzinfo=UTC))
    report = store.explain("ann", "lapse")
    assert report.direction == "the embedding itself"
    assert report.score == pytest.approx(1.0, abs=1e-6)
    assert all(one.effect == pytest.approx(one.moved, abs=1e-6) for one in report.texts)
    assert store.explain("ann", "lapse", DIRECTION).modalities != report.modalities


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--user-id", "nobody", "--scenario", "lapse"), 10, "User 'nobody' has no stream event"),
        (("--user-id", "wiped", "--scenario", "lapse"), 10, "was erased"),
        (("--user-id", "ann", "--scenario", "churn"), 10, "known: lapse"),
        (("--user-id", "ann", "--scenario", "lapse", "--direction", "nowhere.npy"), 2, "nowhere.npy cannot be read"),
        (("--user-id", "ann", "--scenario", "lapse", "--html", "/dev/null/x"), 2, "/dev/null/x cannot be written"),
    ],
)
def test_what_cannot_be_asked(made: Deployment, args: tuple[str, ...], code: int, said: str) -> None:
    done = call(made, *args)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output
