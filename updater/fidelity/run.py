"""`updater model fidelity`: what can be read back from the embeddings of a day, compared with what is simpler."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from updater.domain.window import Window
from updater.errors import ConcurrentUpdateError, NotFoundError, NothingCommittedError, WindowOrderError
from updater.evaluation.embedding import mean_text
from updater.evaluation.figures import needed
from updater.evaluation.metrics import Floats
from updater.fidelity.bags import bag, read_log
from updater.fidelity.gate import lost, wrong
from updater.fidelity.html import render
from updater.fidelity.incremental import CPU_TOLERANCE, GPU_TOLERANCE, freshness, locality, parity
from updater.fidelity.questions.files import write_questions
from updater.fidelity.questions.make import Questions, make_questions, refuse_leaks
from updater.fidelity.readers.asked import Asked
from updater.fidelity.readers.native import answer_natively
from updater.fidelity.readers.probe import Answers, answer, prior
from updater.fidelity.report import PRIOR, Json, Kept, make_report
from updater.fidelity.scoring import Scorer
from updater.fidelity.stored import buffered, computed, provenance, published
from updater.fidelity.systems import NEWEST, SYSTEMS, SystemFactory, random, shuffled
from updater.lake import partitions
from updater.pipeline.versions.registry import check_model, model_version
from updater.runtime.deployment import Context, Progress, WritableContext, day_before, no_progress
from updater.runtime.device import model_device
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.runtime.state_lock import StateLock
from updater.runtime.state_place import needs_directory
from updater.training.profiles import Profiles
from updater.users.event_batches import UserEvents

USERS = 2000
"""Users who are asked, if nobody says how many: the same ones every day."""


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


def measure_fidelity(
    context: WritableContext,
    pool: ProcessPool,
    ds: date | None = None,
    *,
    users: int | None = USERS,
    model: str | None = None,
    version: int | None = None,
    output: str | None = None,
    external: Mapping[str, SystemFactory] | None = None,
    progress: Progress = no_progress,
) -> Fidelity:
    """Ask about the users of a committed day, read the answers off embeddings, and write report.json and report.html.

    Args:
        context: the deployment; nothing of its windows or its rows is changed.
        pool: what computes.
        ds: landing day of the window at whose end is asked; the newest one if left out.
        users: how many are asked; None for all.
        model: directory of a model that is compared with the live one.
        version: instead of a directory, the number of a model version.
        output: directory of the report; `<state>/evaluation/fidelity/ds=…` if left out.
        external: what computes the vectors of systems that are none of this project, by name.
        progress: called as work is done.

    Raises:
        NothingCommittedError: no window is committed.
        WindowOrderError: `ds` is none of the committed windows.
        ConfigError: the model does not fit, or a package is missing.
    """
    needs_directory(context.settings, "A report of fidelity")
    needed(("jinja2",))
    window, live = _window(context, ds), context.live_model()
    directory = _candidate(context, model, version)
    progress("making questions", 0, 1)
    questions = make_questions(context, window.ds, users=users)
    known = provenance(context, window, sorted(set(questions.table["user_id"].to_pylist())))
    questions = refuse_leaks(questions, known)
    _keep(context, questions, window)
    if not questions.table.num_rows:
        raise NotFoundError(
            f"Nothing can be asked about {window}: too few users have enough events in the buffer; name a later day.",
            kind="question",
            name=str(window),
        )
    asked = Asked.of(questions.table)
    names = asked.users.tolist()
    matrices = {
        "published": asked.matrix(published(context, live.version, window, names)),
        "rebuilt": asked.matrix(
            computed(context, pool, context.model_directory(live.version), window, names, progress)
        ),
    }
    if directory:
        matrices["candidate"] = asked.matrix(computed(context, pool, directory, window, names, progress))
    has_past = context.first_window() != window.ds
    if has_past:
        before = context.window(day_before(window.ds))
        matrices["stale"] = asked.matrix(published(context, live.version, before, names))
    with Session(context, live) as session:
        events = buffered(context, session, window, names)
        matrices |= _references(context, session, window, asked, events)
        matrices["shuffled"] = shuffled(matrices["published"], context.settings.model.seed)
        matrices["random"] = random(len(names), context.settings.model.seed)
        matrices |= {name: asked.matrix(make(questions.table)) for name, make in (external or {}).items()}
        matrices = {name: matrices[name] for name in (*SYSTEMS, *(external or {})) if name in matrices}
        answers: dict[str, Answers] = {}
        for done, (name, matrix) in enumerate(matrices.items()):
            progress("reading answers", done, len(matrices))
            answers[name] = answer(asked, matrix)
        if (native := answer_natively(asked, session.model, events)) is not None:
            answers["native"] = native
        answers[PRIOR] = prior(asked)
        progress("scoring", 0, 1)
        scorer = Scorer(asked, context.settings.evaluation.bootstrap, context.settings.model.seed)
        kept = _kept(context, session, window, asked, scorer, matrices, answers)
    columns = {name: matrices[name].shape[1] if name in matrices else 0 for name in answers}
    about = _about(context, window, questions, asked, directory)
    report = make_report(asked, scorer, answers, columns, kept, about)
    target = output or context.layout.fidelity(window.ds)
    file = partitions.join(target, "report.json")
    found = Fidelity(file, wrong(report), lost(report), report)
    _write(file, json.dumps(report, indent=1, allow_nan=False) + "\n")
    _write(partitions.join(target, "report.html"), render(report, found.wrong, found.lost))
    return found


def _keep(context: WritableContext, questions: Questions, window: Window) -> None:
    """Write the questions where an erasure finds them. Raises ConcurrentUpdateError if one came before that."""
    with StateLock(context.layout.rewriting_lock()).shared():
        if context.ledger.erased().among(set(questions.table["user_id"].to_pylist())):
            raise ConcurrentUpdateError(
                "Users were erased while this ran; run the same command again.", cause="erasure"
            )
        write_questions(questions, context.layout.fidelity_questions(window.ds))


def _window(context: Context, ds: date | None) -> Window:
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing can be asked; run `updater run --ds …`.")
    first = context.first_window() or watermark
    if ds is not None and not first <= ds <= watermark:
        raise WindowOrderError(f"{ds} is none of the committed windows, which are {first} to {watermark}; name one.")
    return context.window(ds or watermark)


def _candidate(context: Context, directory: str | None, version: int | None) -> str:
    """Directory of the model that is compared with the live one; empty if there is none, or it is the live one."""
    live = context.live_model()
    if directory:
        return "" if check_model(context.settings, Path(directory)) == live.digest else directory
    if version is None or version == live.version:
        return ""
    return context.model_directory(model_version(context, version).version)


def _references(
    context: Context, session: Session, window: Window, asked: Asked, events: Sequence[UserEvents]
) -> dict[str, Floats]:
    """Vectors that are made of the events without the model, (U, columns)."""
    profiles = Profiles(window.ds, asked.users, tuple(events))
    log = read_log(context, session.connection, window, asked.users.tolist())
    fitted = set(asked.users[np.unique(asked.user_Q[asked.train_Q])].tolist())
    bags = {f"last_{newest}": bag(log, fitted, newest) for newest in NEWEST}
    return {"text": mean_text(profiles).astype(float), "counts": bag(log, fitted), **bags}


def _kept(
    context: Context,
    session: Session,
    window: Window,
    asked: Asked,
    scorer: Scorer,
    matrices: Mapping[str, Floats],
    answers: Mapping[str, Answers],
) -> Kept:
    on_cpu = model_device(context.settings) == "cpu"
    return Kept(
        parity=parity(
            asked,
            scorer,
            (matrices["published"], matrices["rebuilt"]),
            (answers["published"], answers["rebuilt"]),
            CPU_TOLERANCE if on_cpu else GPU_TOLERANCE,
        ),
        freshness=freshness(asked, scorer, answers["published"], answers["stale"]) if "stale" in answers else None,
        locality=locality(context, session, window, asked) if "stale" in answers else None,
    )


def _about(context: Context, window: Window, questions: Questions, asked: Asked, candidate: str) -> Json:
    return {
        "ds": str(window.ds),
        "as_of": window.as_of.isoformat(),
        "config": Path(context.settings.source).name,
        "model": context.live_model().name,
        "trained": context.live_model().trained,
        "candidate": Path(candidate).name,
        "seed": context.settings.model.seed,
        "questions": {
            "number": len(asked),
            "test": int((~asked.train_Q).sum()),
            "slots": len(asked.slots),
            "digest": questions.digest,
            "removed": dict(questions.removed),
        },
    }


def _write(path: str, text: str) -> None:
    with partitions.write_file(path) as file:
        file.write(text.encode("utf-8"))
