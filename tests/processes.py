"""The command line in processes of its own: real ones, and ones that are forked from a server with the imports done."""

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """How a command ended. A negative exit code is the signal that killed it."""

    exit_code: int
    stdout: str
    stderr: str


def start_updater(*args: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """`updater ARGS` in a new interpreter and session; takes seconds to import."""
    return _start(["-m", "updater.cli", *args], env)


def run_updater(*args: str, env: Mapping[str, str] | None = None) -> Outcome:
    """As `start_updater`, to its end."""
    return _ended(start_updater(*args, env=env))


def run_python(script: Path, *args: str) -> Outcome:
    """`python SCRIPT ARGS` in a new interpreter, to its end."""
    return _ended(_start([str(script), *args]))


def _start(command: Sequence[str], env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _ended(process: "subprocess.Popen[str]") -> Outcome:
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


def fork_updater(*args: str, env: Mapping[str, str] | None = None) -> Outcome:
    """`updater ARGS` in a process that is forked from a server in which nothing but imports has happened."""
    return _fork(None, args, {**os.environ, **(env or {})}, ROOT)


def fork_script(script: Path, *args: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Outcome:
    """`python SCRIPT ARGS` in such a process; `env` is its whole environment."""
    return _fork(str(script), args, env or os.environ, cwd)


def fork_server() -> ForkServerContext:
    """What processes are forked from, with the imports of `tests/preload.py` done."""
    server = get_context("forkserver")
    server.set_forkserver_preload(["tests.preload"])
    return server


def _fork(script: str | None, args: Sequence[str], env: Mapping[str, str], cwd: Path) -> Outcome:
    with TemporaryDirectory(prefix="updater-outcome-") as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        # The server has the environment and the directory of the test that started it.
        arguments = (script, list(args), dict(env), str(cwd), str(out), str(err))
        process = fork_server().Process(target=_call, args=arguments)
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{script or 'updater'} {' '.join(args)} does not end")
        return Outcome(process.exitcode, out.read_text(), err.read_text())


def _call(script: str | None, args: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if script is not None:
        sys.argv[:] = [script, *args]
        sys.path.insert(0, str(Path(script).parent))
        runpy.run_path(script, run_name="__main__")
        return
    from updater.cli import main

    main(args, prog_name="updater")
