"""Which failures a second try can cure."""

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

INCURABLE = ("ConfigError", "NotLandedError", "DataRefusedError", "WindowOrderError", "VerificationError")
"""Errors of `updater.errors` (with their subclasses) that the same task would only meet again."""

TASK_DEFAULTS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(
                exception=[f"updater.errors.{name}" for name in INCURABLE],
                action=RetryAction.FAIL,
                reason="trying again cannot help",
            )
        ]
    ),
}
"""Arguments of every task."""
