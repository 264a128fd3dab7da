"""Which failures Airflow retries."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from updater.errors import UpdaterError


def _non_retryable(kind: type[UpdaterError] = UpdaterError) -> Iterator[str]:
    """Names of non-retryable errors; Airflow includes their subclasses."""
    for error in kind.__subclasses__():
        if error.retryable:
            yield from _non_retryable(error)
        else:
            yield f"{error.__module__}.{error.__name__}"


TASK_DEFAULTS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(
                exception=sorted(_non_retryable()),
                action=RetryAction.FAIL,
                reason="not retryable",
            )
        ]
    ),
}
"""Arguments of every task."""
