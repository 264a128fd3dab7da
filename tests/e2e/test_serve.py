"""A server of questions as a program: it says where it listens, answers over HTTP, and ends when it is told to."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.request import urlopen

import pytest

from tests import report_state
from tests.dags.shop import DAYS, USERS
from tests.deployment import Deployment, write_config
from tests.http_client import post
from tests.identity import PERMISSIONS, IdentityProvider
from tests.processes import fork_updater, start_updater

pytestmark = pytest.mark.slow

MILK = "Will this user buy milk?"
LONGEST_STOP = 60


@contextmanager
def served(made: Deployment, *options: str) -> "Iterator[tuple[str, Popen[str]]]":
    """`updater user serve` on a free port, once it listens: its URL and its process."""
    process = start_updater("user", "serve", "--port", "0", "--json", "--config", str(made.settings.source), *options)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield json.loads(said or process.communicate()[1])["url"], process
    finally:
        process.kill()
        process.wait(LONGEST_STOP)


def ask(url: str, user: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    return post(f"{url}/embed", {"user_id": user, "query": MILK}, headers)


def test_it_answers_as_the_command_does_until_it_is_stopped(tmp_path: Path) -> None:
    made = report_state.create(tmp_path, answers=True)
    made.run(DAYS[:1])
    config = ("--config", str(made.settings.source))
    with served(made) as (url, process):
        known = fork_updater("user", "embed", "--user-id", USERS[3], "--query", MILK, "--json", *config)
        assert ask(url, USERS[3]) == (200, json.loads(known.stdout))
        assert isinstance(json.loads(known.stdout)["answer"], float)
        assert ask(url, "nobody")[0] == 404
        with urlopen(f"{url}/health", timeout=60) as answer:
            assert json.load(answer)["model"] == made.context.live_model().name
        taken = fork_updater("user", "serve", "--port", url.rpartition(":")[2], *config)
        assert taken.exit_code == 2
        assert taken.stderr.count("\n") == 2  # what nobody is asked, and what is wrong
        assert taken.stderr.splitlines()[-1].endswith("name another with --host and --port.")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONGEST_STOP)
    assert (process.returncode, out) == (0, "")
    assert [line for line in err.splitlines() if "asks nobody who they are" not in line] == []


@pytest.mark.campaign
def test_roles_are_asked_for(tmp_path: Path, provider: IdentityProvider) -> None:
    made = report_state.create(tmp_path, auth=provider.auth, permissions=PERMISSIONS)
    made.run(DAYS[:1])
    with served(made) as (url, process):
        assert ask(url, USERS[3])[0] == 401
        assert ask(url, USERS[3], provider.token("risk_reader"))[0] == 403
        status, answer = ask(url, USERS[3], provider.token("risk_reader", "marketing_reader"))
        process.terminate()
        assert process.wait(LONGEST_STOP) == -signal.SIGTERM
    assert (status, answer["embedding"]) == (200, made.embed(USERS[3], MILK).embedding)


def test_before_init_nobody_listens(tmp_path: Path) -> None:
    done = fork_updater("user", "serve", "--port", "0", "--config", str(write_config(tmp_path)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("is not initialized; run `updater init`.\n")
