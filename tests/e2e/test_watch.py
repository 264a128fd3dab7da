"""The daily job watched from the command line: exit codes, the sentence, the metrics file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, tree
from tests.processes import Outcome, fork_updater
from tests.watched import DAYS, land

pytestmark = pytest.mark.campaign

WELL = {"UPDATER_ALERTS__MAX_HOURS_SINCE_AS_OF": "inf"}


class Watch:
    """A deployment of one window, which ended long ago."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made = Deployment.create(root)
        land(self.made.lake, DAYS[0])

    def call(self, *args: str, **environ: str) -> Outcome:
        return fork_updater(*args, "--config", str(self.made.settings.source), env=environ)

    def files(self) -> dict[str, str]:
        return {path: digest for path, digest in tree(self.root).items() if "online.db" not in path}


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    yield Watch(tmp_path_factory.mktemp("watch"))


# These tests are the steps of one story, in the order of the file.


def test_before_the_first_window_there_is_nothing_to_check(watch: Watch) -> None:
    done = watch.call("status", "--fail-on-alert")
    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr.startswith("updater: No window is committed yet")
    assert watch.call("status").exit_code == 0
    assert json.loads(watch.call("status", "--json").stdout)["health"] is None
    watch.made.run(DAYS[:1])


def test_all_is_well(watch: Watch) -> None:
    before = watch.files()
    done = watch.call("status", "--fail-on-alert", "--json", **WELL)
    assert (done.exit_code, done.stderr) == (0, "")
    health = json.loads(done.stdout)["health"]
    assert (health["ds"], health["alerts"], health["online_mismatches"]) == (str(DAYS[0]), [], 0)
    assert health["online_values"] > 0
    said = watch.call("status", "--fail-on-alert", **WELL).stdout
    assert "differ from the offline ones" in said and "alerts      none" in said
    assert watch.files() == before


def test_an_alert_is_printed_and_only_a_check_ends_with_six(watch: Watch) -> None:
    environ = {**WELL, "UPDATER_ALERTS__MAX_DAYS_SINCE_LAST_EVENT": "0.25"}
    done = watch.call("status", "--fail-on-alert", **environ)
    assert done.exit_code == 6
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("updater: 2 alert thresholds are exceeded: newest event of bill before 2024-03-02")
    assert "max_days_since_last_event is 0.25, the value 0.5" in done.stderr
    assert "alert       newest event of bill" in done.stdout and "alerts      none" not in done.stdout
    reported = watch.call("status", **environ)
    assert (reported.exit_code, reported.stderr) == (0, "")
    assert "alert       newest event of bill" in reported.stdout


def test_the_clock_alone_exceeds_a_threshold(watch: Watch) -> None:
    done = watch.call("status", "--fail-on-alert", "--json")
    assert done.exit_code == 6
    (alert,) = json.loads(done.stdout)["health"]["alerts"]
    assert (alert["threshold"], alert["limit"]) == ("max_hours_since_as_of", 36.0)
    assert alert["value"] > 24 * 365


def test_a_verification_checks_the_thresholds_when_asked_to(watch: Watch) -> None:
    assert watch.call("state", "verify", "--sample", "3").exit_code == 0
    assert watch.call("state", "verify", "--sample", "3", "--fail-on-alert", **WELL).exit_code == 0
    done = watch.call("state", "verify", "--sample", "3", "--fail-on-alert")
    assert (done.exit_code, done.stderr.count("\n")) == (6, 1)
    assert "0 differences" in done.stdout and "max_hours_since_as_of is 36" in done.stderr


def test_a_senseless_threshold_is_a_wrong_config(watch: Watch) -> None:
    done = watch.call("status", UPDATER_ALERTS__MIN_DAY_COSINE="7")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "alerts.min_day_cosine is 7.0; use a number from -1 to 1." in done.stderr


def test_metrics_on_standard_output_and_in_a_file(watch: Watch, tmp_path: Path) -> None:
    shown = watch.call("state", "metrics")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "\nupdater_windows_completed 1.0\n" in shown.stdout
    path = tmp_path / "textfile" / "updater.prom"
    done = watch.call("state", "metrics", "--output", str(path), "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"file": str(path)})
    assert list(path.parent.iterdir()) == [path]
    assert 'updater_alerts{threshold="max_hours_since_as_of"} 1.0' in path.read_text()


def test_a_metrics_file_that_cannot_be_written(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = watch.call("state", "metrics", "--output", str(tmp_path / "file" / "x.prom"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "cannot be written" in done.stderr and done.stderr.count("\n") == 1
