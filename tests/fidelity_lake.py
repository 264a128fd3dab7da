"""A small lake with two streams, in which most users do something in one of them on a day and nothing in the other."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.deployment import write_config
from tests.factories import bill, land_rows, utc

FIRST = date(2024, 3, 1)
DAYS = 3
"""Windows to run."""
BUFFER_DAYS = 10
PAST_DAYS = 5
"""Full days before the windows; none of them leaves the buffer while they run."""
FUTURE_DAYS = 2
NUM_USERS = 110
CATEGORIES = ("dairy", "rice", "tea", "wine", "bread", "fruit")
PAGES = ("home", "offers", "account", "help", "cart", "search")
MODALITIES = [
    {"name": "bill", "text": "{category} at {merchant}", "numeric": ["amount"], "category": "category"},
    {"name": "visit", "text": "page {page}", "category": "page"},
]


def write_lake(root: Path, future_days: int = FUTURE_DAYS, **overrides: Any) -> Path:
    """A config and its lake below `root`; returns the config's path. `overrides`: see `write_config`."""
    config = write_config(
        root,
        modalities=MODALITIES,
        buffer={"days": BUFFER_DAYS, "num_buckets": 4},
        evaluation={"bootstrap": 50},
        **overrides,
    )
    rng = np.random.default_rng(0)
    taste = {name: rng.dirichlet([0.7] * 6, NUM_USERS) for name in ("bill", "visit")}
    for offset in range(-PAST_DAYS, DAYS + future_days):
        ds = FIRST + timedelta(days=offset)
        rows: dict[str, list[dict[str, Any]]] = {"bill": [], "visit": []}
        for user in range(NUM_USERS):
            for name, values in (("bill", CATEGORIES), ("visit", PAGES)):
                # Days of the past are full, so that everybody can be asked; the windows' own days are sparse.
                for hour in range(3 if offset < 0 else 1):
                    if rng.random() < (0.7 if offset < 0 else 0.3):
                        key, time = f"{name}{user}-{ds}-{hour}", f"{ds} {6 + 5 * hour:02}:30:00"
                        value = str(rng.choice(values, p=taste[name][user]))
                        if name == "bill":
                            rows[name].append(bill(f"u{user:03}", key, time, category=value))
                        else:
                            row = {"user_id": f"u{user:03}", "event_id": key, "event_time": utc(time), "page": value}
                            rows[name].append(row)
        for name, found in rows.items():
            land_rows(str(root / "lake"), name, ds, found)
    return config
