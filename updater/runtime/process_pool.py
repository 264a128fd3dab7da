"""One process per core for encoding and refreshing: two processes beat one process with two threads by far.

Workers start from a server process that has imported the heavy libraries once, so that each costs a fork and no import.
With `[run] engine = "ray"` they are actors of a cluster instead, and all else stays.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from multiprocessing import forkserver, get_context, parent_process
from multiprocessing.connection import Connection
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from updater.errors import ConfigError, UpdaterError
from updater.ledger import ModelRecord
from updater.runtime.deployment import Context
from updater.runtime.threads import one_thread
from updater.runtime.worker_logs import WorkerLogs, forward
from updater.settings import Settings

if TYPE_CHECKING:
    from updater.runtime.cluster.ray_engine import RayEngine
    from updater.runtime.session import Session

JOBS_PER_PROCESS = 2
"""So that a process whose buckets were quick takes some of the others'."""
FEW_PER_PROCESS = 512
"""So few users are one job: opening the buffer and the summaries once more costs as much as tens of users."""
FEW_ALONE = 4096
"""The same where no other process can take over; as many as a process reads together."""
ENCODE_TEXTS = 512
"""Texts that a worker encodes at a time."""
PRELOADED = [
    "updater.runtime.garbage",
    "updater.pipeline.daily.refresh",
    "updater.model.checkpoint",
    "updater.model.inference",
    "transformers.modeling_layers",
]
"""What the server imports; the last is what transformers puts off until a model is read, 2.4 CPU seconds."""


class ProcessPool:
    """Runs jobs in worker processes if the settings ask for more than one or for a cluster's, else in this process."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self.now = now
        self._pool: ProcessPoolExecutor | None = None
        self._logs: WorkerLogs | None = None
        self._cluster: RayEngine | None = None

    @cached_property
    def num_processes(self) -> int:
        """How many jobs run at the same time."""
        if self.settings.run.engine == "ray":
            return self.settings.run.processes or self._ray().slots
        return self.settings.run.processes or len(os.sched_getaffinity(0))

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._logs is not None:
            self._logs.close()
        if self._cluster is not None:
            self._cluster.close()

    def warm_up(self) -> None:
        """Let the server import what workers need, while this process does something else."""
        if self.settings.run.engine == "processes" and self.num_processes > 1:
            get_context("forkserver").set_forkserver_preload(PRELOADED)
            forkserver.ensure_running()

    def encode(self, texts: list[str], progress: Callable[[int], None] = lambda _: None) -> npt.NDArray[np.float16]:
        """Vectors of `texts`, shape (len(texts), V), float16; `progress` is called with how many are done."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        chunks = [order[start : start + ENCODE_TEXTS] for start in range(0, len(order), ENCODE_TEXTS)]
        encoder = self.settings.model.text_encoder
        results: list[npt.NDArray[np.float16] | None] = [None] * len(chunks)
        done = 0
        for index, vectors in self.map(_encode, [(encoder, [texts[i] for i in chunk]) for chunk in chunks]):
            results[index] = vectors
            done += len(chunks[index])
            progress(done)
        out = np.concatenate([part for part in results if part is not None])
        inverse = np.empty(len(order), np.int64)
        inverse[order] = np.arange(len(order))
        return out[inverse]

    def groups(self, buckets: Sequence[int], num_users: int | None = None) -> list[list[int]]:
        """Buckets as jobs, neighbours together.

        Args:
            buckets: the buckets to work on.
            num_users: about how many of their users there is work for; None if nobody counted them.
        """
        few = FEW_ALONE if self.num_processes == 1 else FEW_PER_PROCESS * self.num_processes
        jobs = 1 if num_users is not None and num_users <= few else JOBS_PER_PROCESS
        size = -(-len(buckets) // (jobs * self.num_processes))
        return [list(buckets[start : start + size]) for start in range(0, len(buckets), size)]

    def map(self, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Call `work`, a module's function, with each of `jobs`; yields (index of the job, result) as they are done."""
        if self.settings.run.engine == "ray":
            # Small work too: the caller's machine may have another processor, which makes other last digits.
            yield from self._ray().map(work, jobs)
            return
        if self.num_processes == 1 or (len(jobs) == 1 and self._pool is None):
            with one_thread():
                for index, job in enumerate(jobs):
                    yield index, work(*job)
            return
        if self._pool is None:
            server = get_context("forkserver")
            server.set_forkserver_preload(PRELOADED)
            self._logs = WorkerLogs(server)
            # The server's own environment is that of whoever started it first.
            arguments = (self._logs.sender, self._logs.level, dict(os.environ))
            self._pool = ProcessPoolExecutor(self.num_processes, server, _start_worker, arguments)
        try:
            futures = {self._pool.submit(work, *job): index for index, job in enumerate(jobs)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise UpdaterError(
                "A worker process died, perhaps out of memory; run the same command again, or lower run.processes "
                "or run.users_per_batch first."
            ) from None

    def _ray(self) -> "RayEngine":
        if self._cluster is None:
            try:
                from updater.runtime.cluster.ray_engine import RayEngine
            except ModuleNotFoundError as error:
                if error.name != "ray":
                    raise
                raise ConfigError(
                    f"run.engine is 'ray' in {self.settings.source}, and for that ray is needed; "
                    "run `pip install 'updater[ray]'`."
                ) from error
            self._cluster = RayEngine(self.settings)
        return self._cluster


def _start_worker(sender: Connection, level: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    import torch

    forward(sender, level)
    torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """Let this process end as soon as its parent has; otherwise the server, its real one, keeps it.

    A pool's worker that waits for work does not notice that nobody is left to give it any.
    """
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@cache
def _encoder(name: str) -> Any:
    from updater.model.text_encoder import load_text_encoder

    return load_text_encoder(name)


def _encode(name: str, texts: list[str]) -> npt.NDArray[np.float16]:
    vectors: npt.NDArray[np.float16] = _encoder(name).encode(texts)
    return vectors


@dataclass(frozen=True)
class _Opened:
    """A session that stays open for the next job of the same deployment and model: a model is loaded once."""

    settings: Settings
    digest: str
    session: "Session"


_OPENED: list[_Opened] = []
"""The last one of this process, if any."""


def open_session(context: Context, version: ModelRecord | None = None) -> "Session":
    """What a job in a worker process works with, which outlives the job; `context` is the job's own."""
    from updater.runtime.session import Session

    settings = context.settings
    version = version or context.live_model()
    if _OPENED and (_OPENED[0].settings, _OPENED[0].digest) != (settings, version.digest):
        _OPENED.pop().session.close()
    if not _OPENED:
        _OPENED.append(_Opened(settings, version.digest, Session(context, version)))
    session = _OPENED[0].session
    # Of the job: its clock, and a ledger that this process opened for it.
    session.context, session.version = context, version
    session.vectors.refresh()
    return session
