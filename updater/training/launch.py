"""Training in several processes on this machine: this one is the first, the others are started beside it.

On several machines `accelerate launch` or `torchrun` start `updater model train` themselves; then nothing is started
here.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from updater.errors import UpdaterError
from updater.settings import Settings
from updater.training.distributed import Rank, this_rank

_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAST_WORDS = 30.0
"""Seconds that a process has for ending when this one has failed."""


@contextmanager
def ranks(settings: Settings) -> Iterator[Rank]:
    """This process's rank, while the processes that the config asks for run beside it.

    Raises:
        UpdaterError: one of them failed.
    """
    count = settings.training.processes
    if count == 1 or "WORLD_SIZE" in os.environ:
        yield this_rank()
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = dict(os.environ)
    common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "updater.cli", "model", "train", "--json"]
    command += ["--config", str(settings.source), "--device", settings.model.device]
    with TemporaryDirectory() as directory:
        # A pipe that nobody reads while training goes on would fill up.
        messages = [Path(directory, f"rank-{rank}") for rank in range(1, count)]
        others = [
            _start(command, {**before, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, path)
            for rank, path in enumerate(messages, start=1)
        ]
        os.environ.update(common, RANK="0", LOCAL_RANK="0")
        try:
            yield Rank(0, count)
            for other, path in zip(others, messages, strict=True):
                other.wait()
                _check(other, path)
        except RuntimeError:
            # What this process notices of another's end is a broken connection, while the other one still says why.
            for other, path in zip(others, messages, strict=True):
                with suppress(subprocess.TimeoutExpired):
                    other.wait(_LAST_WORDS)
                _check(other, path)
            raise
        finally:
            for other in others:
                other.kill()
                other.wait()
            _restore(before)


def _start(command: list[str], environ: dict[str, str], messages: Path) -> "subprocess.Popen[bytes]":
    with messages.open("w") as file:
        # The other process has a handle of its own.
        return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=file)


def _check(process: subprocess.Popen[bytes], messages: Path) -> None:
    """Raise UpdaterError with the last line that a failed process wrote to `messages`."""
    if process.poll():
        said = messages.read_text(encoding="utf-8").strip().splitlines() or ["it said nothing"]
        raise UpdaterError(f"A training process failed: {said[-1]}")


def _restore(before: dict[str, str]) -> None:
    for name in (*_VARIABLES, "OMP_NUM_THREADS"):
        os.environ.pop(name, None)
    os.environ.update(before)
