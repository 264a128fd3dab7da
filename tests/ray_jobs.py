"""Jobs for a cluster: its actors import them by name."""

import logging
import os
import signal
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from updater.errors import HeadConflictError
from updater.pipeline.daily.refresh import _refresh_job
from updater.runtime.crash_points import VARIABLE
from updater.settings import Settings

logger = logging.getLogger("updater.tests")


def process_id(number: int) -> int:
    """Which process does the job."""
    logger.info("job %d", number)
    return os.getpid()


def conflict(calls: str) -> None:
    """Note the call, and fail as a job does that another attempt overtook."""
    with Path(calls).open("a") as file:
        file.write("called\n")
    raise HeadConflictError("Bucket 3 has other values.", published="abc", bucket=3)


def die(calls: str) -> None:
    """Note the call, and end as the kernel ends a process."""
    with Path(calls).open("a") as file:
        file.write("called\n")
    os.kill(os.getpid(), signal.SIGKILL)


def numbers() -> Any:
    """Many enough that the cluster keeps them in shared memory."""
    return np.zeros(1_000_000)


def environment(name: str) -> str | None:
    """A variable of the process that does the job."""
    return os.environ.get(name)


def unpicklable() -> Any:
    """What cannot be sent back."""
    return lambda: None


def refresh_killed_once(mark: str, *job: Any) -> dict[date, float]:
    """A window's job whose process is killed between two buckets, by whoever is the first to do one."""
    try:
        Path(mark).touch(exist_ok=False)
        os.environ[VARIABLE] = "after:head"
    except FileExistsError:
        pass
    return refresh(*job)


def refresh(settings: Settings, now: datetime, days: list[date], buckets: list[int]) -> dict[date, float]:
    """A window's job."""
    return _refresh_job(settings, now, days, buckets)
