"""A process of its own that does some steps of a script, and may be killed on the way.

It is forked from a server in which nothing but imports has happened.
"""

import os
import traceback
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from signal import SIGKILL

from tests.chaos.script import Landing, Step
from tests.chaos.state import Items, items
from tests.factories import land_rows
from tests.processes import fork_server
from tests.strategies import COLUMNS
from updater.errors import UpdaterError
from updater.lake import partitions
from updater.pipeline.compact.run import maintain
from updater.pipeline.daily.window import run_window
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.pipeline.restate.run import restate_range
from updater.runtime import crash_points
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

TIMEOUT = 300
"""Seconds that a step may take."""
NOWHERE = "nowhere"
"""A point that nobody reaches: the points that are reached are counted all the same."""
LATER = timedelta(hours=1)
"""What has passed when a step is attempted again."""
DONE, CRASHED = "done", "crashed: "


@dataclass(frozen=True)
class Attempt:
    """One process's work."""

    config: str
    first_day: date
    steps: tuple[Step, ...]
    again: bool = False
    """The first step was attempted before, and its landings are there."""
    fault: str = NOWHERE


@dataclass
class Outcome:
    """How a process ended."""

    results: list[str] = field(default_factory=list)
    """Per step `done`, the name of the error that refused it, or a traceback."""
    traces: list[dict[str, int]] = field(default_factory=list)
    items: Items | None = None
    """The state after the last step."""
    killed: bool = False


class Child:
    """A process that does an attempt."""

    def __init__(self, attempt: Attempt) -> None:
        server = fork_server()
        self._receiver, sender = server.Pipe(duplex=False)
        self._process: ForkServerProcess = server.Process(target=_work, args=(attempt, sender))
        self._process.start()
        sender.close()

    def wait(self) -> Outcome:
        """Wait for its end."""
        outcome = Outcome()
        try:
            while self._receiver.poll(TIMEOUT):
                message = self._receiver.recv()
                if isinstance(message, tuple):
                    outcome.results.append(message[0])
                    outcome.traces.append(message[1])
                else:
                    outcome.items = message
            self._process.kill()
            outcome.results.append(f"{CRASHED}it does not end within {TIMEOUT} s")
        except EOFError:
            self._process.join()
            outcome.killed = self._process.exitcode == -SIGKILL
        self._process.close()
        return outcome


def _work(attempt: Attempt, sender: Connection) -> None:
    os.environ[crash_points.VARIABLE] = attempt.fault
    settings = load_settings(attempt.config, environ={})
    for number, step in enumerate(attempt.steps):
        before = Counter(crash_points._reached)
        try:
            do(settings, step, attempt.first_day, again=attempt.again and number == 0)
            result = DONE
        except UpdaterError as error:
            result = type(error).__name__
        except BaseException:
            result = CRASHED + traceback.format_exc()
        sender.send((result, dict(crash_points._reached - before)))
    os.environ[crash_points.VARIABLE] = NOWHERE
    sender.send(items(settings))


def do(settings: Settings, step: Step, first_day: date, again: bool) -> None:
    """Do a step as the command line does. If something of it was done before, the clock has gone on."""
    if step.verb == "init":
        initialize(settings)
        return
    if not again:
        for landing in step.landings:
            land(settings, landing)
    context = open_writable(settings, step.now)
    if again and _has_begun(context, step):
        context = open_writable(settings, step.now + LATER)
    if step.verb == "erase":
        erase(context, [step.user_id])
        return
    if step.verb == "maintain":
        maintain(context)
        return
    with ProcessPool(settings, context.now) as pool:
        if step.verb == "run":
            run_window(context, pool, step.ds)
        else:
            restate_range(context, pool, first_day, step.ds)


def _has_begun(context: WritableContext, step: Step) -> bool:
    """True if an earlier attempt left its clock, which the values carry."""
    if step.verb == "run":
        return context.ledger.window(step.ds) is not None
    return step.verb != "restate" or partitions.exists(context.layout.restatement_plan())


def land(settings: Settings, landing: Landing) -> None:
    """Write a day into the lake, or the first part of its file."""
    lake = settings.paths.lake
    land_rows(lake, landing.modality, landing.ds, [row.values() for row in landing.rows], columns=COLUMNS)
    if landing.torn < 1:
        path = Path(partitions.day_directory(partitions.join(lake, landing.modality), landing.ds), "part-000.parquet")
        whole = path.read_bytes()
        path.write_bytes(whole[: int(landing.torn * len(whole))])
