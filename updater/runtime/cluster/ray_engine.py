"""Jobs in actors of a Ray cluster: each keeps its model, has one job at a time, and gets the next when it is done.

A job whose process or machine is lost is done again by another actor, which is safe because the ledger accepts each
result once. An error that the job raised is the caller's, as it is.
"""

import logging
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from updater.errors import ServiceUnavailableError, UpdaterError
from updater.runtime.cluster.actors import Actors, end
from updater.runtime.cluster.connection import Connection, first_line
from updater.runtime.cluster.slot import Answer, Call
from updater.settings import Settings

MAX_TRIES = 3
"""How often a job is begun: one that takes its process with it would otherwise go round for ever."""
WAIT_SECONDS = 30.0
"""How long to wait before looking whether anybody works at all."""
IDLE_SECONDS = 600.0
"""How long nobody may work: a cluster that grows on demand takes minutes."""

logger = logging.getLogger(__name__)


class RayEngine:
    """A connection and its actors.

    Args:
        settings: the config; its `run.processes` is the number of actors, 0 for one per CPU (or GPU) of the cluster.

    Raises:
        ConfigError: the config does not go with the cluster.
        ServiceUnavailableError: there is no cluster.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._actors = Actors(self._connection)

    @property
    def slots(self) -> int:
        """How many jobs run at the same time, at most."""
        return self._connection.slots

    def map(self, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Call `work`, a module's function, with each of `jobs`; yields (index of the job, result) as they are done.

        Raises:
            ServiceUnavailableError: the cluster has no room for any actor.
            UpdaterError: a job's process was lost three times, or no actor starts.
        """
        calls = [pickle.dumps(Call.of(work, job)) for job in jobs]
        # Large jobs first, so that the last ones to end are small. All jobs share the config, and differ in what they
        # are about: texts, users, buckets.
        queue = deque(sorted(range(len(calls)), key=lambda index: -len(calls[index])))
        tries = [0] * len(calls)
        running: dict[Any, tuple[int, Any]] = {}

        def hand_out() -> None:
            self._actors.start(min(self.slots - len(running), len(queue)))
            while queue and self._actors.idle:
                index, actor = queue.popleft(), self._actors.idle.pop()
                tries[index] += 1
                running[actor.call.remote(calls[index])] = (index, actor)

        try:
            at_work = monotonic()
            while queue or running:
                hand_out()
                at_work = monotonic() if running else self._nobody_since(at_work)
                done, _ = ray.wait([*running, *self._actors.starting], timeout=WAIT_SECONDS)
                for ref in done:
                    if self._actors.arrived(ref):
                        continue
                    index, actor = running.pop(ref)
                    try:
                        answer = _answer(ref)
                    except RayError as lost:
                        end(actor)
                        _check_tries(tries[index], lost)
                        queue.appendleft(index)
                        continue
                    self._actors.idle.append(actor)
                    # The caller may take its time with the result.
                    hand_out()
                    yield index, answer.value()
        finally:
            # An error, or a caller who stops: what these have done by now is found done when it is run again.
            for _, actor in running.values():
                end(actor)

    def _nobody_since(self, instant: float) -> float:
        if monotonic() - instant > IDLE_SECONDS:
            raise ServiceUnavailableError(
                f"The Ray cluster at {self._connection.address} had no room for an actor in {IDLE_SECONDS / 60:.0f} "
                "minutes; `ray status` says who has its CPUs."
            )
        return instant

    def close(self) -> None:
        """End the actors and leave the cluster."""
        self._actors.end()
        self._connection.close()


def _answer(ref: Any) -> Answer:
    try:
        answer: Answer = pickle.loads(ray.get(ref))
    except RayTaskError as error:
        # Of the call itself, such as a result that cannot be pickled: a job's own errors are answers.
        raise error.cause from None
    return answer


def _check_tries(tries: int, lost: RayError) -> None:
    if tries >= MAX_TRIES:
        raise UpdaterError(
            f"A job's worker process or machine was lost {tries} times ({first_line(lost)}), perhaps out of memory; "
            "run the same command again, or lower run.processes or run.users_per_batch first."
        ) from None
    logger.warning("a worker process or its machine was lost, and its job is done again: %s", first_line(lost))
