"""What each task calls: the landing day out of Airflow's context, one function of the library, counts for XCom.

The library is imported inside the functions: Airflow parses the DAG files again and again, and in every task.
"""

from typing import Any

from updater.airflow.assets import announce
from updater.airflow.config import config_file, landing_day

Report = dict[str, Any]


def detect(modality: str, **context: Any) -> Report:
    """Find out what landed in one modality, and whom it changes."""
    from updater.pipeline import steps

    return steps.detect(landing_day(context), modality, config=config_file(context))


def modalities_to_encode(detected: list[Report]) -> list[str]:
    """Name the modalities with new texts."""
    return [report["modality"] for report in detected if report["texts"]]


def bucket_groups(**context: Any) -> list[list[int]]:
    """Deal the buckets out to the refresh tasks."""
    from updater.pipeline import steps

    return steps.bucket_groups(landing_day(context), context["params"]["num_groups"], config=config_file(context))


def encode(modality: str, **context: Any) -> Report:
    """Encode the new texts of one modality."""
    from updater.pipeline import steps

    return steps.encode(landing_day(context), modality, config=config_file(context))


def refresh(buckets: list[int], **context: Any) -> Report:
    """Recompute the changed users of some buckets."""
    from updater.pipeline import steps

    return steps.refresh(landing_day(context), buckets, config=config_file(context))


def publish(**context: Any) -> Report:
    """Complete the day's offline rows."""
    from updater.pipeline import steps

    return steps.publish(landing_day(context), config=config_file(context))


def materialize(**context: Any) -> Report:
    """Bring the day online, commit it, and trigger what is scheduled on the feature views."""
    from updater.pipeline import steps

    day = landing_day(context)
    report = steps.materialize(day, config=config_file(context))
    announce(context, [day], report)
    return report


def verify(**context: Any) -> Report:
    """Compare a sample of users with a full rebuild."""
    from updater.pipeline import steps

    return steps.verify(landing_day(context), context["params"]["verify_users"], config=config_file(context))


def missing_days(params: Report) -> list[str]:
    """Days of the asked range that are not yet published, oldest first."""
    from updater.pipeline import steps

    return steps.backfill_days(params["from_date"], params["to_date"], config=params["config"])


def prepare_days(modality: str, days: list[str], params: Report) -> Report:
    """Detect and encode one modality, day by day."""
    from updater.pipeline import steps

    rows = texts = 0
    for day in days:
        rows += steps.detect(day, modality, config=params["config"])["rows"]
        texts += steps.encode(day, modality, config=params["config"])["texts_encoded"]
    return {"modality": modality, "rows": rows, "texts_encoded": texts}


def bucket_groups_of_days(days: list[str], params: Report) -> list[list[int]]:
    """Deal the buckets out to the refresh tasks."""
    from updater.pipeline import steps

    return steps.bucket_groups(days[-1], params["num_groups"], config=params["config"])


def refresh_days(days: list[str], buckets: list[int], params: Report) -> Report:
    """Walk some buckets through all days, with the model loaded once."""
    from updater.pipeline import steps

    return steps.refresh_days(days, buckets, config=params["config"])


def publish_days(days: list[str], **context: Any) -> Report:
    """Publish, bring online and commit each day, oldest first."""
    from updater.pipeline import steps

    rows, views = 0, set[str]()
    for day in days:
        steps.publish(day, config=config_file(context))
        report = steps.materialize(day, config=config_file(context))
        rows += report["rows"]
        views.update(report["views"])
    total = {"rows": rows, "views": sorted(views)}
    announce(context, days, total)
    return total


def verify_days(days: list[str], params: Report) -> Report:
    """Compare a sample of users with a full rebuild, on the last day."""
    from updater.pipeline import steps

    return steps.verify(days[-1], params["verify_users"], config=params["config"])
