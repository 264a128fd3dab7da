"""IP and AP of an earlier day, once its future has come.

On its day nobody knows what users will do next: who is asked what is kept, and scored when the horizon has passed, on
the rows that had been published by then.
"""

from collections.abc import Collection
from datetime import date, timedelta

import pyarrow as pa

from updater.domain.window import Window
from updater.fidelity.outcome import Fidelity, about_questions, no_erasure, write_report
from updater.fidelity.questions.files import write_questions
from updater.fidelity.questions.make import HORIZON_DAYS, Questions, make_actions, refuse_leaks
from updater.fidelity.readers.asked import Asked
from updater.fidelity.report import Json, Kept, make_report
from updater.fidelity.scoring import Scorer
from updater.fidelity.systems.compared import compare
from updater.fidelity.systems.stored import provenance, published
from updater.lake import partitions
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.session import Session


def due_days(context: Context, horizon_days: int = HORIZON_DAYS) -> list[date]:
    """Days whose questions wait and whose horizon has passed, oldest first."""
    watermark, layout = context.ledger.watermark(), context.layout
    if watermark is None:
        return []
    days = map(layout.fidelity_day, partitions.list_names(layout.fidelity_days()))
    over = [ds for ds in days if ds is not None and ds + timedelta(days=horizon_days) <= watermark]
    return [ds for ds in over if partitions.exists(layout.fidelity_waiting(ds))]


def score_actions(
    context: WritableContext,
    ds: date,
    *,
    horizon_days: int = HORIZON_DAYS,
    readers: Collection[str] | None = None,
    progress: Progress = no_progress,
) -> Fidelity | None:
    """Answer what waited as of the end of day `ds`, and write questions and report to `<state>/…/ds=…/actions`.

    Args:
        context: the deployment; nothing of its windows or its rows is changed.
        ds: one of `due_days`.
        horizon_days: days in which the next event was looked for.
        readers: who reads beside the probe, as in `compare`.
        progress: called as work is done.

    Returns:
        None if not all days of the horizon have landed, and it waits on; or nobody did anything that can be asked for.
    """
    window, layout = context.window(ds), context.layout
    waited: pa.Table = partitions.read_table(layout.fidelity_waiting(ds))
    questions = make_actions(context, ds, waited, horizon_days=horizon_days)
    if questions is None:
        return None
    known = provenance(context, window, sorted(set(questions.table["user_id"].to_pylist())))
    questions = refuse_leaks(questions, known)
    with no_erasure(context, questions.table["user_id"].to_pylist()):
        write_questions(questions, layout.fidelity_action_questions(ds))
    found = None
    if questions.table.num_rows:
        report = _report(context, window, questions, readers, progress)
        found = write_report(report, layout.fidelity_actions(ds))
    # Last: a run that was killed before is run again.
    partitions.remove(layout.fidelity_waiting(ds))
    return found


def _report(
    context: Context, window: Window, questions: Questions, readers: Collection[str] | None, progress: Progress
) -> Json:
    asked, live = Asked.of(questions.table), context.live_model()
    rows = asked.matrix(published(context, live.version, window, asked.users.tolist()))
    with Session(context, live) as session:
        compared = compare(
            context, session, window, questions, asked, {"published": rows}, readers=readers, progress=progress
        )
    scorer = Scorer(asked, context.settings.evaluation.bootstrap, context.settings.model.seed)
    nothing = Kept(parity=None, freshness=None, locality=None)
    about = about_questions(context, window, questions, asked)
    return make_report(asked, scorer, compared.answers, compared.columns, nothing, about)
