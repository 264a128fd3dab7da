"""`updater report` on a state: what it says, that it changes nothing, and how it fails."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.dags.shop import USERS
from tests.deployment import Deployment, tree
from tests.report_state import REFUSED, WAITING, create, with_windows
from updater.cli import main
from updater.domain.declared.alerts import THRESHOLDS
from updater.report.facts import NO_REASON, collect


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return with_windows(tmp_path_factory.mktemp("report"))


def report(made: Deployment, *args: str) -> Result:
    environ = {"SOURCE_DATE_EPOCH": str(int(made.now.timestamp()))}
    return CliRunner(env=environ).invoke(main, ["report", *args, "--config", str(made.settings.source)])


def test_the_page_is_written_whole_and_the_state_stays_as_it_is(made: Deployment, tmp_path: Path) -> None:
    before = tree(made.state)
    page, again = tmp_path / "report.html", tmp_path / "again.html"
    done = report(made, "--html", str(page))
    assert (done.exit_code, done.output) == (0, f"Wrote {page}.\n")
    assert report(made, "--html", str(again)).exit_code == 0
    assert page.read_bytes() == again.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path not in (page, again)] == []
    assert tree(made.state) == before


def test_json_has_what_the_page_is_made_of(made: Deployment) -> None:
    done = report(made, "--json", "--last", "2")
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [w["ds"] for w in found["windows"]] == ["2024-03-29", "2024-03-30"]
    assert found["status"]["watermark"] == "2024-03-30"
    assert set(found["thresholds"]) == set(THRESHOLDS)
    assert found["next_day"]["ds"] == str(WAITING)
    assert found["next_day"]["plan"]["prefixes"] > 0
    assert {item["threshold"] for item in found["measured"]} >= {"max_hours_since_as_of", "max_rejected_share_window"}
    assert "max_mismatch_share" not in {item["threshold"] for item in found["measured"]}


def test_neither_the_page_nor_what_it_is_made_of_names_a_user(made: Deployment, tmp_path: Path) -> None:
    done = report(made, "--json", "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0
    for text in (done.stdout, (tmp_path / "page.html").read_text()):
        assert not [user for user in USERS if user in text]


def test_refused_rows_come_with_their_reasons_and_no_user(made: Deployment) -> None:
    (refused,) = collect(made.context, plan=False).rejected
    assert (refused.ds, refused.modality, refused.rejected) == (REFUSED, "search", 2)
    assert refused.reasons == {"user_id is null": 1, "user_id is empty": 1}


def test_refused_rows_that_are_no_longer_kept_are_counted_all_the_same(tmp_path: Path) -> None:
    made = with_windows(tmp_path)
    Path(made.context.layout.rejected_file("search", REFUSED)).unlink()
    (refused,) = collect(made.context, plan=False).rejected
    assert refused.reasons == {NO_REASON: 2}


def test_without_a_plan_the_next_day_is_only_named(made: Deployment) -> None:
    next_day = collect(made.context, plan=False).next_day
    assert next_day is not None
    assert (next_day.ds, next_day.landed, next_day.plan) == (WAITING, True, None)


def test_online_values_are_compared_on_demand(made: Deployment) -> None:
    found = {item.threshold: item.value for item in collect(made.context, plan=False, online=True).measured}
    assert found["max_mismatch_share"] == 0.0


def test_a_day_that_would_be_refused_says_why(tmp_path: Path) -> None:
    made = with_windows(tmp_path)
    window = made.context.window(WAITING)
    made.context.ledger.open_window(WAITING, window.as_of, made.now)
    (Path(made.lake) / "bill" / f"ds={WAITING}" / "part-000.parquet").write_bytes(b"no Parquet")
    next_day = collect(made.context).next_day
    assert next_day is not None
    assert next_day.plan is None
    assert "part-000.parquet" in next_day.refused


def test_an_evaluation_is_found_by_the_digest_of_its_model(tmp_path: Path) -> None:
    made = create(tmp_path)
    file = Path(made.context.layout.model_evaluation(made.context.live_model().digest))
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"mean": {"base": {"auc": 0.7}}, "tasks": {"buys": {}}, "gate": []}))
    (version,) = collect(made.context).versions
    assert version.evaluation is not None
    assert (version.evaluation.auc, version.evaluation.tasks, version.evaluation.gate) == ({"base": 0.7}, 1, [])


def test_before_the_first_window_there_is_a_page(tmp_path: Path) -> None:
    made = create(tmp_path / "new")
    assert report(made, "--html", str(tmp_path / "page.html")).exit_code == 0
    assert "No window is committed yet" in (tmp_path / "page.html").read_text()


def test_what_is_asked_wrongly_is_one_sentence(made: Deployment, tmp_path: Path) -> None:
    nothing = report(made)
    assert nothing.exit_code == 2
    assert "--html FILE" in nothing.output
    (tmp_path / "file").touch()
    unwritable = report(made, "--html", str(tmp_path / "file" / "page.html"))
    assert unwritable.exit_code == 2
    assert "cannot be written" in unwritable.stderr
