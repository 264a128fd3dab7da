"""`updater model fidelity`: what can be read back from the embeddings of a day, compared with what is simpler."""

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

from updater.domain.window import Window
from updater.errors import NotFoundError, NothingCommittedError, WindowOrderError
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.incremental import CPU_TOLERANCE, GPU_TOLERANCE, freshness, locality, parity
from updater.fidelity.llm.joined import LlmReading, event_lines, read_with_llm
from updater.fidelity.outcome import Fidelity, about_questions, keep, write_report
from updater.fidelity.questions.make import make_questions, refuse_leaks
from updater.fidelity.readers.asked import Asked
from updater.fidelity.report import Kept, make_report
from updater.fidelity.scoring import Scorer
from updater.fidelity.systems.compared import Compared, compare
from updater.fidelity.systems.names import SYSTEMS, SystemFactory
from updater.fidelity.systems.stored import computed, provenance, published
from updater.pipeline.versions.registry import check_model, model_version
from updater.runtime.deployment import Context, Progress, WritableContext, day_before, no_progress
from updater.runtime.device import model_device
from updater.runtime.model_files import version_directory
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session

USERS = 2000
"""Users who are asked, if nobody says how many: the same ones every day."""


def measure_fidelity(
    context: WritableContext,
    pool: ProcessPool,
    ds: date | None = None,
    *,
    users: int | None = USERS,
    model: str | None = None,
    version: int | None = None,
    output: str | None = None,
    readers: Collection[str] | None = None,
    llm: LlmReading | None = None,
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
        readers: who reads beside the probe, of `compared.READERS`; None for what costs little.
        llm: a language model that reads some of the questions, and how; none if left out.
        external: what computes the vectors of systems that are none of this project, by name.
        progress: called as work is done.

    Raises:
        NothingCommittedError: no window is committed.
        WindowOrderError: `ds` is none of the committed windows.
        ConfigError: the model does not fit, or a package is missing.
    """
    window, live = _window(context, ds), context.live_model()
    directory, candidate = _candidate(context, model, version)
    progress("making questions", 0, 1)
    questions = make_questions(context, window.ds, users=users)
    known = provenance(context, window, sorted(set(questions.table["user_id"].to_pylist())))
    questions = refuse_leaks(questions, known)
    keep(context, questions, window)
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
        "rebuilt": asked.matrix(computed(context, pool, version_directory(context, live), window, names, progress)),
    }
    if directory:
        matrices["candidate"] = asked.matrix(computed(context, pool, directory, window, names, progress))
    has_past = context.first_window() != window.ds
    if has_past:
        before = context.window(day_before(window.ds))
        matrices["stale"] = asked.matrix(published(context, live.version, before, names))
    with Session(context, live) as session:
        compared = compare(
            context,
            session,
            window,
            questions,
            asked,
            {name: matrices[name] for name in SYSTEMS if name in matrices},
            readers=readers,
            external=external,
            progress=progress,
        )
        progress("scoring", 0, 1)
        scorer = Scorer(asked, context.settings.evaluation.bootstrap, context.settings.model.seed)
        kept = _kept(context, session, window, asked, scorer, compared)
        about_llm = None
        if llm is not None:
            lines = event_lines(context, session.connection, window, names)
            vectors = UserVectors(asked.users, compared.matrices["published"])
            about_llm = read_with_llm(questions.table, vectors, lines, llm, progress)
    about = about_questions(context, window, questions, asked) | {"candidate": candidate}
    report = make_report(asked, scorer, compared.answers, compared.columns, kept, about) | {"llm": about_llm}
    return write_report(report, output or context.layout.fidelity(window.ds))


def _window(context: Context, ds: date | None) -> Window:
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing can be asked; run `updater run --ds …`.")
    first = context.first_window() or watermark
    if ds is not None and not first <= ds <= watermark:
        raise WindowOrderError(f"{ds} is none of the committed windows, which are {first} to {watermark}; name one.")
    return context.window(ds or watermark)


def _candidate(context: Context, directory: str | None, version: int | None) -> tuple[str, str]:
    """Directory and name of the model that is compared with the live one; empty if there is none, or it is that one."""
    live = context.live_model()
    if directory:
        is_live = check_model(context.settings, Path(directory)) == live.digest
        return ("", "") if is_live else (directory, Path(directory).name)
    if version is None or version == live.version:
        return "", ""
    return version_directory(context, model_version(context, version)), f"v{version}"


def _kept(
    context: Context,
    session: Session,
    window: Window,
    asked: Asked,
    scorer: Scorer,
    compared: Compared,
) -> Kept:
    matrices, answers = compared.matrices, compared.answers
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
