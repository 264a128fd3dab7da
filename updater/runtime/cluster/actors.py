"""The actors of an engine: started as jobs need them, asked whether they are fit for work, and kept."""

import logging
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from updater.errors import ConfigError, UpdaterError
from updater.runtime.cluster.connection import Connection, first_line
from updater.runtime.cluster.slot import Slot, Versions, versions

MAX_FAILED_STARTS = 3
"""Per slot and in succession, until nobody believes that one will start."""

logger = logging.getLogger(__name__)


class Actors:
    """Those that wait for a job, and those that are being started: the caller has the others.

    Ray neither restarts one nor repeats a call: who is started, and what is done again, is decided here and by the
    caller. An actor is given nothing before it has answered, for one that finds no room on the cluster waits for ever.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._class = ray.remote(Slot).options(
            **connection.resources, scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0
        )
        self.idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._failed_starts = 0

    def __len__(self) -> int:
        return len(self.idle) + len(self._starting)

    @property
    def starting(self) -> Sequence[Any]:
        """What to wait for: references that are ready when an actor is, to be given to `arrived`."""
        return list(self._starting)

    def start(self, number: int) -> None:
        """Start actors until there are `number`."""
        for _ in range(number - len(self)):
            actor = self._class.remote()
            self._starting[actor.greet.remote()] = actor

    def arrived(self, ref: Any) -> bool:
        """Take in the actor that `ref` stands for; False if `ref` is none of `starting`.

        Raises:
            ConfigError: its machine has other versions installed, or lacks a package.
            UpdaterError: again and again no actor starts.
        """
        actor = self._starting.pop(ref, None)
        if actor is None:
            return False
        try:
            found: Versions = ray.get(ref)
        except RayTaskError as error:
            raise ConfigError(
                f"A machine of the Ray cluster cannot run jobs ({first_line(error.cause)}); install the same "
                "`updater[run,ray]` on all of them."
            ) from error
        except RayError as lost:
            self._failed_starts += 1
            logger.warning("an actor did not start: %s", first_line(lost))
            if self._failed_starts >= MAX_FAILED_STARTS * self._connection.slots:
                raise UpdaterError(
                    f"No actor starts on the Ray cluster at {self._connection.address} ({first_line(lost)}); look at "
                    "the logs of its machines, and run the same command again."
                ) from None
            return True
        if found != versions():
            raise ConfigError(
                f"A machine of the Ray cluster has updater {found.updater} with Python {found.python}, and this one "
                f"{versions().updater} with {versions().python}; install the same on all."
            )
        self._failed_starts = 0
        self.idle.append(actor)
        return True

    def end(self) -> None:
        """End those that wait and those that are being started."""
        for actor in (*self.idle, *self._starting.values()):
            end(actor)
        self.idle.clear()
        self._starting.clear()


def end(actor: Any) -> None:
    """End an actor, whatever it is doing."""
    # Any call of Ray's would otherwise start a cluster of its own, when the connection is closed already.
    if ray.is_initialized():
        ray.kill(actor)
