"""Each alert threshold beside the worst value that it was compared with. Pure."""

import math
from collections.abc import Sequence

from updater.domain.declared.alerts import THRESHOLDS, Measured
from updater.report.facts import Facts
from updater.report.table import Table
from updater.report.words import plain

WORDS = {
    "max_hours_since_as_of": "hours since the end of the newest window",
    "max_days_since_last_event": "days since a modality's newest event",
    "max_changed_share_factor": "share of changed users, over the usual one",
    "max_rejected_share_window": "share of a modality's rows that were rejected",
    "min_day_cosine": "mean cosine of embeddings with the ones before",
    "max_mean_shift": "how far the mean of the embeddings moved",
    "max_mismatch_share": "share of online values unlike the offline ones",
}
"""What each threshold is about."""
UNMEASURED = {
    "max_mismatch_share": "compared only on demand: updater report --online",
    "max_changed_share_factor": "known after three windows that changed users",
}
NO_USERS = "too little to measure"


def thresholds(facts: Facts) -> tuple[Table, tuple[str, ...]]:
    """A row for each threshold, and a sentence for each value that exceeds one."""
    alerts = facts.status.health.alerts if facts.status.health else ()
    exceeded = {alert.threshold for alert in alerts}
    rows = []
    for name in THRESHOLDS:
        values = [item for item in facts.measured if item.threshold == name]
        limit = facts.thresholds[name]
        if values:
            worst = _worst(name, values)
            state = "exceeded" if name in exceeded else "kept"
            rows.append((WORDS[name], _limit(name, limit), plain(worst.value), state, worst.where, name))
        else:
            rows.append((WORDS[name], _limit(name, limit), "–", "not measured", UNMEASURED.get(name, NO_USERS), name))
    said = tuple(
        f"{WORDS[alert.threshold]}: {plain(alert.value)}, and the threshold is {_limit(alert.threshold, alert.limit)} "
        f"({alert.where})."
        for alert in alerts
    )
    return Table(("what", "threshold", "worst value", "state", "where", "key of alerts"), tuple(rows)), said


def _worst(name: str, values: Sequence[Measured]) -> Measured:
    if name == "max_changed_share_factor":
        return max(values, key=lambda item: abs(math.log(item.value)) if item.value > 0 else math.inf)
    return (
        min(values, key=lambda item: item.value)
        if name.startswith("min_")
        else max(values, key=lambda item: item.value)
    )


def _limit(name: str, limit: float | None) -> str:
    if limit is None:
        return "none"
    if name == "max_changed_share_factor":
        return f"{1 / limit:g} to {limit:g}"
    return f"at least {limit:g}" if name.startswith("min_") else f"at most {limit:g}"
