"""The metrics file: what a Prometheus reads in it, when it is written, and that it never costs a window."""

import logging
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deployment import Deployment
from tests.watched import AS_OF, DAYS, context, land, watched
from updater.errors import ConfigError, UnfinishedWorkError
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.window import check_previous
from updater.pipeline.monitor.prometheus import metrics_text, write_metrics
from updater.pipeline.monitor.status import status
from updater.runtime.process_pool import ProcessPool
from updater.settings import Metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return watched(tmp_path_factory.mktemp("watched"), metrics={"file": "metrics/updater.prom"})


def samples(text: str) -> dict[str, float]:
    """Values by `name` or `name{label value}`, as Prometheus's own parser reads them."""
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_reported(made: Deployment) -> None:
    found = samples(metrics_text(context(made, hours=40)))
    files = [path for path in (made.state / "offline").rglob("*") if path.is_file()]
    expected = {
        "updater_windows_completed": len(DAYS),
        "updater_windows_waiting": 0,
        "updater_windows_unfinished": 0,
        "updater_partitions_rewritten": 0,
        "updater_window_prefixes": 15,
        "updater_window_rows": 45,
        "updater_changed_users": 15,
        "updater_active_users": 30,
        "updater_changed_share": 0.5,
        "updater_usual_changed_share": 0.5,
        "updater_modality_landed_timestamp_seconds{bill}": AS_OF.timestamp(),
        "updater_modality_processed_timestamp_seconds{search}": AS_OF.timestamp(),
        "updater_modality_newest_event_timestamp_seconds{bill}": (AS_OF - timedelta(hours=12)).timestamp(),
        "updater_rejected_share{bill}": 0,
        "updater_scenario_as_of_timestamp_seconds{lapse}": AS_OF.timestamp(),
        "updater_scenario_compared_users{takeout}": 15,
        "updater_online_mismatch_share": 0,
        "updater_alerts{max_hours_since_as_of}": 1,
        "updater_alerts{max_rejected_share_window}": 0,
        "updater_state_files{offline}": len(files),
        "updater_state_bytes{offline}": sum(path.stat().st_size for path in files),
    }
    assert {name: found[name] for name in expected} == expected
    assert {"updater_window_step_seconds{detect}", "updater_window_step_seconds{materialize}"} <= set(found)
    assert "updater_modality_landed_timestamp_seconds{app}" not in found
    assert -1 <= found["updater_scenario_day_cosine{lapse}"] <= 1


def test_a_window_leaves_the_file_and_nothing_else(made: Deployment) -> None:
    path = Path(made.settings.metrics.file)
    assert path == made.state.parent / "metrics" / "updater.prom"
    assert samples(path.read_text())["updater_windows_completed"] == len(DAYS)
    assert list(path.parent.iterdir()) == [path]


def test_before_the_first_window_there_is_little_to_report(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    land(made.lake, DAYS[0])
    found = samples(metrics_text(made.context))
    assert (found["updater_windows_completed"], found["updater_windows_waiting"]) == (0, 1)
    assert "updater_changed_users" not in found


def test_a_file_that_cannot_be_written_is_one_sentence(made: Deployment, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"The metrics file .*/file/x\.prom cannot be written: "):
        write_metrics(made.context, str(tmp_path / "file" / "x.prom"))


def test_without_the_library_a_sentence_says_what_to_install(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'updater\[watch\]'"):
        metrics_text(made.context)


def test_a_window_is_committed_even_if_its_metrics_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Deployment.create(tmp_path)
    land(made.lake, DAYS[0])
    (tmp_path / "file").touch()
    made = replace(made, settings=replace(made.settings, metrics=Metrics(file=str(tmp_path / "file" / "x.prom"))))
    with caplog.at_level(logging.WARNING, logger="updater"), ProcessPool(made.settings, made.now) as pool:
        backfill(made.context, pool, DAYS[0], DAYS[0])
    assert made.context.ledger.watermark() == DAYS[0]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("No metrics were written: The metrics file ")


def test_windows_that_a_killed_backfill_left_open_are_all_counted_and_hide_no_finished_one(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    land(made.lake, DAYS[0])
    made.run(DAYS[:1])
    opened = [DAYS[0] + timedelta(days=number) for number in range(1, 31)]
    for ds in opened:
        window = made.context.window(ds)
        made.context.ledger.open_window(ds, window.as_of, made.now)

    report = status(made.context)
    assert report.unfinished == [str(ds) for ds in opened]
    assert [run["ds"] for run in report.runs] == [str(DAYS[0])]
    found = samples(metrics_text(made.context))
    assert (found["updater_windows_completed"], found["updater_windows_unfinished"]) == (1, 30)
    assert "updater_window_completed_timestamp_seconds" in found
    with pytest.raises(UnfinishedWorkError, match=f"{opened[0]} was started but not finished") as refused:
        check_previous(made.context, made.context.window(opened[-1]))
    assert (refused.value.kind, refused.value.ds) == ("window", opened[0])
