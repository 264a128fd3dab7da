"""The demo's data and scenarios with a few hundred households: what examples and notebooks run on in the tests."""

import tomllib
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from tests.factories import toml_text
from updater.domain.buckets import bucket_of
from updater.lake.partitions import join, landed_days, list_files, read_table, write_table
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources import completejourney

ROOT = Path(__file__).parents[1]
BUFFER_DAYS = 8
FIRST_WINDOW, LAST_WINDOW, LAST_LABEL_DAY = date(2017, 6, 30), date(2017, 7, 8), date(2017, 7, 14)
ITEM = "item"  # the one modality with thousands of texts


def build_small_demo(root: Path, first_window: date = FIRST_WINDOW) -> Path:
    """The lake and the state of a few hundred households, after the windows from `first_window` on."""
    first_day = first_window - timedelta(days=BUFFER_DAYS - 1)
    config = tomllib.loads((ROOT / "configs" / "demo.toml").read_text())
    del config["training"], config["alerts"], config["profile"]["wording"]
    config |= {
        "paths": {"lake": "lake", "state": "state", "feature_repo": str(ROOT / "feature_repo")},
        "ledger": {"url": "sqlite:///state/ledger.db"},
        "registry": {"url": "sqlite:///state/registry.db"},
        "buffer": {"days": BUFFER_DAYS, "num_buckets": 2},
        "run": {"processes": 1},
        "modalities": [modality for modality in config["modalities"] if modality["name"] != ITEM],
    }
    (root / "updater.toml").write_text(toml_text(config))
    settings = load_settings(root / "updater.toml", environ={})
    completejourney.land(settings.paths.lake, first_day, LAST_LABEL_DAY, settings.timezone)
    for modality in settings.modalities:
        keep_few_users(join(settings.paths.lake, modality.name))
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        backfill(context, pool, first_window, LAST_WINDOW)
    return root


def keep_few_users(modality: str) -> None:
    for ds in landed_days(modality):
        for path in list_files(join(modality, f"ds={ds}")):
            rows = read_table(path)
            # Of another eighth no household that is held out uses a coupon in the week of the test.
            keep = [bucket_of(user, 8) == 3 for user in rows["user_id"].to_pylist()]
            write_table(path, rows.filter(pa.array(keep, pa.bool_())))
