"""What the next day will cost, before it runs. Pure."""

from dataclasses import dataclass
from statistics import median

from updater.pipeline.daily.dry_run import TIMED
from updater.report.facts import Facts
from updater.report.table import Table
from updater.report.words import number, percent, spent


@dataclass(frozen=True)
class NextDayView:
    """The day after the watermark."""

    ds: str
    said: tuple[str, ...]
    can_be_planned: bool
    """It has landed and was not planned, so the page says how to do that."""
    modalities: Table


def next_day(facts: Facts) -> NextDayView | None:
    """What is known of the next day; None before the first window."""
    day = facts.next_day
    if day is None:
        return None
    ds, plan = day.ds.isoformat(), day.plan
    past = _past(facts)
    if day.refused:
        return NextDayView(
            ds, (f"{ds} has landed, but it would be refused now: {day.refused}", *past), False, _NO_TABLE
        )
    if not day.landed:
        return NextDayView(ds, (f"{ds} has not landed in every required modality.", *past), False, _NO_TABLE)
    if plan is None:
        return NextDayView(ds, (f"{ds} has landed and was not planned for this page.", *past), True, _NO_TABLE)
    active = facts.status.health.active_users if facts.status.health else 0
    beside = [f"{percent(plan.prefixes / active)} of a full recompute"] if active else []
    beside += [f"{number(plan.backfill_users)} of them only for new scenarios"] if plan.backfill_users else []
    share = f" ({'; '.join(beside)})" if beside else ""
    cost = (
        "No window was run by `updater run` or `updater backfill`, so there is no rate to tell the time by."
        if plan.estimated_seconds is None
        else f"About {spent(plan.estimated_seconds)}, at the rate of {plan.estimated_from}."
    )
    said = (
        cost,
        f"{ds} has landed. {number(plan.changed_users)} users changed, in {number(plan.changed_summaries)} modalities "
        f"of theirs. To compute: {number(plan.prefixes)} users{share}, and {number(plan.texts_to_encode)} "
        "texts.",
        *past,
    )
    head = ("modality", "rows", "rejected", "changed users", "texts to encode", "events")
    rows = tuple(
        (
            m["modality"],
            number(m["rows"]),
            number(m["rejected"]),
            number(m["changed_users"]),
            number(m["texts_to_encode"]),
            ", ".join(f"{number(count)} {why}" for why, count in m["reasons"].items()) or "–",
        )
        for m in plan.modalities
    )
    return NextDayView(ds, said, False, Table(head, rows))


_NO_TABLE = Table((), ())


def _past(facts: Facts) -> tuple[str, ...]:
    """What the windows before took, but for the one that built everything and those that Airflow timed by its tasks."""
    later = [w["seconds"] for w in facts.windows if w["ds"] != str(facts.first_window)]
    took = [sum(seconds.values()) for seconds in later if seconds.keys() >= TIMED]
    if not took:
        return ()
    if len(took) == 1:
        return (f"An earlier window took {spent(took[0])}.",)
    return (
        f"{len(took)} earlier windows took {spent(min(took))} to {spent(max(took))}, "
        f"in the median {spent(median(took))}.",
    )
