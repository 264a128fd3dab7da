"""What an actor of the cluster runs: one job after the other, in a process that keeps what they loaded."""

import logging
import os
import pickle
import platform
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import QueueHandler
from typing import Any

from updater import __version__
from updater.runtime.worker_logs import LOGGER

TRAVELLING = ("SOURCE_DATE_EPOCH", "UPDATER_CRASH_POINT")
"""Variables that a job has of its caller's environment, and not of its node's. None of them may be a secret: all others
are the node's, so keys and passwords stay where its administrator put them."""


@dataclass(frozen=True)
class Versions:
    """What has to be the same on all machines: pickles are exchanged, and bytes are compared."""

    updater: str
    python: str


def versions() -> Versions:
    """Those of this process."""
    return Versions(__version__, platform.python_version())


@dataclass(frozen=True)
class Call:
    """A job, for a process on another machine."""

    work: Callable[..., Any]
    job: tuple[Any, ...]
    log_level: int
    environment: Mapping[str, str]

    @classmethod
    def of(cls, work: Callable[..., Any], job: tuple[Any, ...]) -> "Call":
        """A call with this process's log level, and with what travels of its environment."""
        environment = {name: os.environ[name] for name in TRAVELLING if name in os.environ}
        return cls(work, job, logging.getLogger(LOGGER).getEffectiveLevel(), environment)


@dataclass(frozen=True)
class Answer:
    """How a call ended, and what it logged."""

    result: Any
    error: Exception | None
    records: Sequence[logging.LogRecord]

    def value(self) -> Any:
        """Log what was logged and return the result, or raise the job's error."""
        for record in self.records:
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        if self.error is not None:
            raise self.error
        return self.result


class Slot:
    """An actor. Calls and answers are pickles of our own: what a cluster hands over by itself cannot be written to."""

    def greet(self) -> Versions:
        """Get ready for jobs."""
        import torch

        # As all workers do: the number of threads changes the last bits of a product.
        torch.set_num_threads(1)
        return versions()

    def call(self, pickled: bytes) -> bytes:
        """Do a pickled `Call`; returns the pickled `Answer`."""
        call: Call = pickle.loads(pickled)
        for name in TRAVELLING:
            os.environ.pop(name, None)
        os.environ.update(call.environment)
        collected = _Collected(LOGGER, call.log_level)
        with collected:
            try:
                result, failed = call.work(*call.job), None
            except Exception as error:
                error.add_note(f"In a worker of the cluster:\n{traceback.format_exc()}")
                result, failed = None, error
        return pickle.dumps(Answer(result, failed, collected.records))


class _Collected(QueueHandler):
    """Records of a logger and those below it, ready to be pickled."""

    def __init__(self, name: str, level: int) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # what would go into a queue stays here
        self.records: list[logging.LogRecord] = []
        self._logger, self._level = logging.getLogger(name), level

    def __enter__(self) -> None:
        self._logger.setLevel(self._level)
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)
