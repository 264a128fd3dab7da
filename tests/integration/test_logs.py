"""The log of a run: one line per step, from worker processes too, and nothing unless asked for."""

import logging
import re
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.processes import fork_updater
from tests.watched import DAYS, land
from updater.pipeline.compact.run import maintain
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify
from updater.runtime.worker_logs import WorkerLogs, forward


def deployed(root: Path, num_days: int, **run: int) -> Deployment:
    made = Deployment.create(root, buffer={"num_buckets": 4}, **({"run": run} if run else {}))
    for ds in DAYS[:num_days]:
        land(made.lake, ds)
    return made


def test_a_command_is_quiet_unless_it_is_to_be_verbose(tmp_path: Path) -> None:
    made = deployed(tmp_path, 2, processes=2)
    command = ("run", "--json", "--config", str(made.settings.source), "--ds")
    quiet = fork_updater(*command, str(DAYS[0]))
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    done = fork_updater(*command, str(DAYS[1]), "--verbose")
    assert done.exit_code == 0
    assert done.stdout.startswith("{")
    reported = [re.sub(r"^\S+ \S+ ", "", line) for line in done.stderr.splitlines()]
    assert all(re.fullmatch(r"INFO updater\.\S+: .*\d\.\d s", line) for line in reported), reported
    steps = [line.split(": ", 1)[1].split()[0] for line in reported]
    assert list(dict.fromkeys(steps)) == ["detected", "encoded", "refreshed", "published", "materialized", "committed"]
    refreshed = [line for line in reported if "refresh" in line]
    assert refreshed
    assert all(f"of {DAYS[1]}" in line for line in refreshed)
    assert sum(int(found[1]) for line in refreshed if (found := re.search(r"refreshed (\d+) buckets", line))) == 4


def test_a_log_says_what_was_done_and_never_to_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = deployed(tmp_path, 1)
    made.run(DAYS[:1])
    user = made.offline_rows("lapse_v1", DAYS[0])[0]["user_id"]
    with caplog.at_level(logging.INFO, logger="updater"):
        erase(made.context, [user])
        verify(made.context, None)
        maintain(made.context)
    reported = "\n".join(record.getMessage() for record in caplog.records)
    assert "erased 1 users: " in reported
    assert "verified 29 users" in reported
    assert "maintained the state" in reported
    assert user not in reported


def work(sender: Connection, level: int, number: int) -> None:
    forward(sender, level)
    logger = logging.getLogger("updater.elsewhere")
    logger.debug("never sent")
    logger.info("line of %d: %s", number, "ä" * 5000)
    logger.warning("end of %d", number)


def test_what_workers_log_reaches_the_parents_loggers_whole_or_cut(caplog: pytest.LogCaptureFixture) -> None:
    server = get_context("forkserver")
    with caplog.at_level(logging.INFO, logger="updater"):
        logs = WorkerLogs(server)
        started = [server.Process(target=work, args=(logs.sender, logs.level, number)) for number in range(3)]
        for process in started:
            process.start()
        for process in started:
            process.join()
        logs.close()
    reported = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert sorted(text for _, level, text in reported if level == "WARNING") == [
        f"end of {number}" for number in range(3)
    ]
    cut = [text for _, level, text in reported if level == "INFO"]
    assert len(cut) == 3
    assert all(re.fullmatch(r"line of \d: ä{100,}…", text) for text in cut)
    assert {name for name, _, _ in reported} == {"updater.elsewhere"}
