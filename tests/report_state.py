"""A small deployment that the page about it has something to say of: windows, rejected rows, a day that waits."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.dags.shop import DAYS, USERS, land
from tests.deployment import Deployment
from tests.factories import land_rows
from tests.strategies import COLUMNS

WAITING = DAYS[-1]
"""It has landed, and no window has taken it in."""
REFUSED = DAYS[1]
"""Here two rows were refused, for two reasons."""


def create(root: Path, **overrides: Any) -> Deployment:
    """The deployment before its first window."""
    made = Deployment.create(root, buffer={"num_buckets": 4}, limits={"max_rejected_share": 0.9}, **overrides)
    for ds in DAYS:
        land(made.lake, ds)
    noon = datetime(REFUSED.year, REFUSED.month, REFUSED.day, 12, tzinfo=UTC)
    rows = [
        {"user_id": user, "event_id": f"x{number}", "event_time": noon, "word": "tea", "amount": 0.0}
        for number, user in enumerate((USERS[3], None, ""))
    ]
    land_rows(made.lake, "search", REFUSED, rows, columns=COLUMNS)
    return made


def with_windows(root: Path, **overrides: Any) -> Deployment:
    """The deployment with a window for each of its days but the last."""
    made = create(root, **overrides)
    made.run(DAYS[:-1])
    return made
