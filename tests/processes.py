"""The command line in processes of its own: real ones, and ones that are forked from a server with the imports done."""

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
HEAVY = (
    "feast.infra.offline_stores.duckdb",
    "rich.progress",
    "updater.pipeline.daily.window",
    "updater.pipeline.daily.refresh",
    "updater.pipeline.monitor.verify",
    "updater.store.definitions",
)

if os.environ.get("TESTS_PRELOAD_UPDATER"):
    for _module in HEAVY:
        importlib.import_module(_module)


@dataclass(frozen=True)
class Outcome:
    """How a command ended. A negative exit code is the signal that killed it."""

    exit_code: int
    stdout: str
    stderr: str


def start_updater(*args: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """`updater ARGS` in a new interpreter and session; takes seconds to import."""
    return subprocess.Popen(
        [sys.executable, "-m", "updater.cli", *args],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_updater(*args: str, env: Mapping[str, str] | None = None) -> Outcome:
    """As `start_updater`, to its end."""
    process = start_updater(*args, env=env)
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


def fork_updater(*args: str, env: Mapping[str, str] | None = None) -> Outcome:
    """`updater ARGS` in a process that is forked from a server in which nothing but imports has happened."""
    server = get_context("forkserver")
    server.set_forkserver_preload(["tests.processes"])
    os.environ["TESTS_PRELOAD_UPDATER"] = "1"
    with TemporaryDirectory(prefix="updater-outcome-") as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        # The server has the environment of the test that started it.
        environment = {**os.environ, **(env or {})}
        process = server.Process(target=_call, args=(list(args), environment, str(out), str(err)))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"updater {' '.join(args)} does not end")
        return Outcome(process.exitcode, out.read_text(), err.read_text())


def _call(args: list[str], env: dict[str, str], out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(env)
    os.environ.pop("TESTS_PRELOAD_UPDATER", None)
    from updater.cli import main

    main(args, prog_name="updater")
