"""What is kept of a measurement: the questions, and the report on them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from updater.domain.window import Window
from updater.errors import ConcurrentUpdateError
from updater.fidelity.gate import lost, wrong
from updater.fidelity.html import render
from updater.fidelity.questions.files import write_questions
from updater.fidelity.questions.make import Questions
from updater.fidelity.readers.asked import Asked
from updater.fidelity.report import Json
from updater.lake import partitions
from updater.runtime.deployment import Context, WritableContext
from updater.runtime.state_lock import Lock, StateLock


@dataclass(frozen=True)
class Fidelity:
    """What was read back, and where the report lies."""

    report_file: str
    """report.json; report.html lies beside it."""
    wrong: list[str]
    """What is wrong with the day's update; empty if nothing."""
    lost: list[str]
    """Why the candidate should not go live; empty if it may, or if there is none."""
    report: Json


def keep(context: WritableContext, questions: Questions, window: Window) -> None:
    """Write the questions of a window, and those that wait, where an erasure finds them.

    Raises:
        ConcurrentUpdateError: users who are asked were erased in the meantime.
    """
    layout = context.layout
    with no_erasure(context, [*questions.table["user_id"].to_pylist(), *questions.waiting["user_id"].to_pylist()]):
        write_questions(questions, layout.fidelity_questions(window.ds))
        if questions.waiting.num_rows:
            partitions.write_table(layout.fidelity_waiting(window.ds), questions.waiting)


@contextmanager
def no_erasure(context: WritableContext, users: Iterable[str]) -> Iterator[None]:
    """Hold off erasures while files with these users are written.

    Raises:
        ConcurrentUpdateError: some of them are erased.
    """
    with StateLock(context, Lock.REWRITING).shared():
        if context.ledger.erased().among(set(users)):
            raise ConcurrentUpdateError(
                "Users were erased while this ran; run the same command again.", cause="erasure"
            )
        yield


def about_questions(context: Context, window: Window, questions: Questions, asked: Asked) -> Json:
    """What a report says of the day, the model and the questions."""
    live = context.live_model()
    return {
        "ds": str(window.ds),
        "as_of": window.as_of.isoformat(),
        "config": Path(context.settings.source).name,
        "model": live.name,
        "trained": live.trained,
        "candidate": "",
        "seed": context.settings.model.seed,
        "questions": {
            "number": len(asked),
            "test": int((~asked.train_Q).sum()),
            "slots": len(asked.slots),
            "digest": questions.digest,
            "removed": dict(questions.removed),
        },
    }


def write_report(report: Json, directory: str) -> Fidelity:
    """Write report.html and report.json, which says that it is done."""
    file = partitions.join(directory, "report.json")
    found = Fidelity(file, wrong(report), lost(report), report)
    _write(partitions.join(directory, "report.html"), render(report, found.wrong, found.lost))
    _write(file, json.dumps(report, indent=1, allow_nan=False) + "\n")
    return found


def _write(path: str, text: str) -> None:
    with partitions.write_file(path) as file:
        file.write(text.encode("utf-8"))
