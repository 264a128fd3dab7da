"""What each task of `maintain_state` calls: one function of the library, counts for XCom.

The library is imported inside the functions, as in `updater.airflow.tasks.daily`.
"""

from typing import Any

Report = dict[str, Any]


def check_alerts(params: Report) -> Report:
    """Measure how the daily job is doing; fail if an alert threshold is exceeded."""
    from updater.pipeline import steps

    return steps.check_alerts(config=params["config"])


def verify(params: Report) -> Report:
    """Compare a sample of users with a full rebuild."""
    from updater.pipeline import steps

    return steps.verify_newest(params["verify_users"], config=params["config"])


def maintain(params: Report) -> Report:
    """Merge files and remove those that nothing needs any more."""
    from updater.pipeline import steps

    return steps.maintain(config=params["config"])


def write_metrics(params: Report) -> Report:
    """Write the metrics file, if the config names one."""
    from updater.pipeline import steps

    return steps.write_metrics(config=params["config"])
