"""What a plan says is what the run then does, over histories that nobody thought of."""

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.deployment import Deployment, tree
from tests.factories import SCENARIOS
from tests.property.test_invariants import deployment
from tests.strategies import TOUR, History, histories
from updater.pipeline.daily.dry_run import DryRun, plan_backfill, plan_window
from updater.pipeline.daily.window import WindowReport
from updater.runtime.deployment import open_context

# Each looks at every window of a history three times over.
few = settings(max_examples=max(1, settings.default.max_examples // 40))

WRITTEN = ("events", "rejected", "changes", "texts", "staged", "summaries", "offline")


@few
@example(TOUR, 2, 3)
@given(histories(5), st.integers(1, 3), st.integers(0, 5))
def test_a_plan_says_what_the_run_then_does(history: History, num_buckets: int, reworded: int) -> None:
    """Number `reworded` of the windows is the first one with another question."""
    with deployment(history, buffer={"num_buckets": num_buckets}) as made:
        windows = history.windows
        days = [ds.isoformat() for ds in windows]
        assert plan_backfill(open_context(made.settings), windows[0], windows[-1], False).days == days
        for number, ds in enumerate(windows):
            if number == reworded:
                made = ask_anew(made)
            before = tree(made.state, WRITTEN)
            plan = plan_window(open_context(made.settings, made.now), ds)
            assert plan == plan_window(made.context, ds), "who may write plans the same"
            assert tree(made.state, WRITTEN) == before, "a plan changes nothing"
            [report] = made.run([ds])
            assert reported(plan) == done(report)
            for modality in plan.modalities:
                records = made.context.ledger.partitions(modality["modality"], None if not number else ds, ds)
                assert modality["rows"] == sum(record.num_rows for record in records)
                assert modality["rejected"] == sum(record.num_rejected for record in records)
            assert by_bucket(plan) == refreshed(made, ds)
            assert plan_window(made.context, ds) == DryRun(str(ds), already_done=True)
        assert plan_backfill(made.context, windows[0], windows[-1], True).days == []


def ask_anew(made: Deployment) -> Deployment:
    """The same with another question of the first scenario."""
    first, *others = made.settings.scenarios
    assert first.name == SCENARIOS[0]["name"]
    return Deployment(replace(made.settings, scenarios=(replace(first, query="anything at all?"), *others)))


def reported(plan: DryRun) -> dict[str, Any]:
    names = ("modality", "changed_users", "reasons", "texts_to_encode")
    return {
        "counts": (plan.changed_users, plan.changed_summaries, plan.prefixes, plan.texts_to_encode),
        "modalities": [tuple(modality[name] for name in names) for modality in plan.modalities],
    }


def done(report: WindowReport) -> dict[str, Any]:
    names = ("modality", "changed_users", "reasons", "texts_encoded")
    return {
        "counts": (report.changed_users, report.changed_summaries, report.prefixes, report.texts_encoded),
        "modalities": [tuple(modality[name] for name in names) for modality in report.modalities],
    }


def by_bucket(plan: DryRun) -> dict[int, tuple[int, int]]:
    """Changed users and prefixes of each bucket with any."""
    return {
        each["bucket"]: (each["changed_users"], each["changed_users"] + each["backfill_users"]) for each in plan.buckets
    }


def refreshed(made: Deployment, ds: date) -> dict[int, tuple[int, int]]:
    """The same by the ledger."""
    counts = {record.bucket: record.counts for record in made.context.ledger.bucket_records(ds)}
    return {bucket: (each["changed_users"], each["prefixes"]) for bucket, each in counts.items() if each["prefixes"]}
