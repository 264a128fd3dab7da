"""A small lake on which label tasks can be distinguished: who buys often keeps at it, and each user has a category."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.deployment import write_config
from tests.factories import MODALITIES, bill, land_rows
from updater.labels.events import Events, open_events
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.settings import Settings

BUFFER_DAYS = 5
HORIZON_DAYS = 3
TRAIN = (date(2024, 3, 1), date(2024, 3, 4))
VALIDATION = (date(2024, 3, 7),)
TEST = (date(2024, 3, 10),)
CATEGORIES = ("dairy", "rice", "tea")
TASKS = """
[[tasks]]
name = "buys"
domain = "risk"
scenario = "lapse"
kind = "occurs"
parameters = { modality = "bill", active_in = "bill", at_least = 3, history_days = 5, horizon_days = 3 }

[[families]]
name = "will_buy_{value}"
domain = "marketing"
query = "{value} in the next week?"
scenario = "will_buy"
kind = "occurs"
parameters = { modality = "bill", active_in = "bill", column = "category", history_days = 5, horizon_days = 3 }
values = ["dairy", "rice"]
unseen = ["tea"]

[[amounts]]
modality = "bill"
column = "category"
amount = "amount"
num_days = 5

[paraphrases]
buys = ["Who keeps coming?", "Is this a regular?"]
will_buy_tea = ["Any tea soon?"]
"""


def write_evaluation(root: Path, num_users: int = 40, **overrides: Any) -> Path:
    """A config, its task file and its lake below `root`; returns the config's path. `overrides`: see `write_config`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "tasks.toml").write_text(TASKS, encoding="utf-8")
    anchors: Mapping[str, Any] = {
        "tasks": "tasks.toml",
        "train": [str(ds) for ds in TRAIN],
        "validation": [str(ds) for ds in VALIDATION],
        "test": [str(ds) for ds in TEST],
        "bootstrap": 20,
        "horizon_days": HORIZON_DAYS,
    }
    config = write_config(
        root, buffer={"days": BUFFER_DAYS}, modalities=MODALITIES[:1], evaluation=dict(anchors), **overrides
    )
    _land(root / "lake", num_users)
    return config


@contextmanager
def events_of(settings: Settings) -> Iterator[Events]:
    """The events of a deployment that need not be initialized."""
    create_ledger(settings)
    with open_events(open_writable(settings)) as events:
        yield events


def _land(lake: Path, num_users: int) -> None:
    rng = np.random.default_rng(0)
    often = np.where(np.arange(num_users) % 2, 0.25, 0.9)
    taste = rng.dirichlet([0.6] * len(CATEGORIES), num_users)
    for offset in range((TEST[-1] - TRAIN[0]).days + BUFFER_DAYS + HORIZON_DAYS):
        ds = TRAIN[0] - timedelta(days=BUFFER_DAYS - 1) + timedelta(days=offset)
        rows = []
        for user in range(num_users):
            for hour in (8, 18):
                if rng.random() < often[user]:
                    what = str(rng.choice(CATEGORIES, p=taste[user]))
                    time = f"{ds} {hour:02}:00:00"
                    rows.append(bill(f"u{user}", f"e{user}-{ds}-{hour}", time, category=what))
        land_rows(str(lake), "bill", ds, rows)


FAMILY_OF_PROMPTS = """
[[families]]
name = "buys_{value}_soon"
domain = "marketing"
query = "{value} bill events in the next 3 days?"
scenario = "buys_{value}"
unseen_scenario = "buys"
kind = "occurs"
parameters = { modality = "bill", active_in = "bill", column = "category" }
values = ["dairy", "red wine"]
unseen = ["tea"]
"""
"""A family whose seen values have soft prompts of their own."""
