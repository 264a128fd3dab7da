"""Training in several processes of this machine, started and watched by torch's own launcher.

They come from the server process of `runtime.process_pool`, which has imported the heavy libraries once. On several
machines `accelerate launch` or `torchrun` start `updater model train` themselves; then nothing is started here.
"""

import logging
import os
import pickle
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from threading import Thread, current_thread, main_thread
from typing import Any
from uuid import uuid4

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from updater.errors import UpdaterError
from updater.runtime.deployment import Context, Progress, no_progress, open_context
from updater.runtime.process_pool import PRELOADED, end_with_parent
from updater.runtime.worker_logs import WorkerLogs, forward
from updater.settings import Settings
from updater.training.runs import TrainReport
from updater.training.steps.distributed import this_rank
from updater.training.train import train

logger = logging.getLogger(__name__)

_HEADER_BYTES = 16
"""More than what a connection writes before a message."""
_LOGGERS = "torch.distributed.elastic.multiprocessing.api", "torch.multiprocessing.spawn"
_SIGNALS = "TORCHELASTIC_SIGNALS_TO_HANDLE"


def launch(context: Context, progress: Progress = no_progress) -> TrainReport:
    """As `train`, in as many processes as the config asks for; one that fails ends the others.

    Raises:
        UpdaterError: one of them failed, with the error that it raised first.
    """
    count = context.settings.training.processes
    if count == 1 or "WORLD_SIZE" in os.environ:
        return train(context, progress)
    processes = get_context("forkserver")
    processes.set_forkserver_preload([*PRELOADED, "updater.training.train"])
    receiver, sender = processes.Pipe(duplex=False)
    errors: list[UpdaterError] = []
    listener = Thread(target=_listen, args=(receiver, progress, errors), daemon=True)
    listener.start()
    logs = WorkerLogs(processes)
    failure, reports = None, {}
    try:
        with TemporaryDirectory() as directory, _side_effects_undone():
            start = elastic_launch(_config(count, directory), _train)
            reports = start(context.settings, context.now, sender, logs.sender, logs.level)
    except ChildFailedError as error:
        failure = error
    finally:
        sender.close()
        listener.join()
        logs.close()
    if failure is not None:
        raise errors[0] if errors else _reason(failure)
    report: TrainReport = reports[0]
    return report


def _config(count: int, directory: str) -> LaunchConfig:
    """`count` processes that meet at a port that the system chooses when it is opened."""
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=directory, redirects=Std.ALL),
        signals_to_handle="SIGTERM",
        start_method="forkserver",
    )


def _train(settings: Settings, now: datetime, parent: Connection, logs: Connection, level: int) -> TrainReport:
    """What each process does."""
    forward(logs, level)
    end_with_parent()
    progress = (lambda *done: _send(parent, done)) if this_rank().is_first else no_progress
    try:
        return train(open_context(settings, now), progress)
    except UpdaterError as error:
        _send(parent, error)
        raise


def _send(parent: Connection, message: object) -> None:
    """Send a message in one write that the system mixes with no other process's; what is longer is left out.

    A lock would serve longer messages too, but a process that is killed while it holds one would stop all others.
    """
    content = pickle.dumps(message)
    if len(content) <= select.PIPE_BUF - _HEADER_BYTES:
        parent.send_bytes(content)


def _listen(receiver: Connection, progress: Progress, errors: list[UpdaterError]) -> None:
    """Pass on progress and collect errors, until all processes have ended."""
    while True:
        try:
            message = pickle.loads(receiver.recv_bytes())
        except EOFError:
            receiver.close()
            return
        if isinstance(message, UpdaterError):
            errors.append(message)
        else:
            progress(*message)


def _reason(error: ChildFailedError) -> UpdaterError:
    """How the process that failed first ended."""
    _, failure = error.get_first_failure()
    said: Any = failure.message
    if isinstance(said, dict):
        logger.error("a training process failed:\n%s", said["extraInfo"].get("py_callstack", ""))
        said = said["message"]
    return UpdaterError(f"A training process failed: {said.strip().splitlines()[-1]}")


@contextmanager
def _side_effects_undone() -> Iterator[None]:
    """Undo what torch's launcher leaves behind in this process: a handler of SIGTERM and an environment variable.

    Within, torch does not log how processes ended, which the error says, once and in one sentence.
    """
    variable, handler = os.environ.get(_SIGNALS), signal.getsignal(signal.SIGTERM)
    levels = {each: each.level for each in map(logging.getLogger, _LOGGERS)}
    for each in levels:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in levels.items():
            each.setLevel(level)
        os.environ.pop(_SIGNALS, None)
        if variable is not None:
            os.environ[_SIGNALS] = variable
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, handler)
