"""A deployment below a directory, with small models, run by the real pipeline."""

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.factories import SCENARIOS, toml_text
from tests.model_factories import with_answers
from tests.small_models import make_backbone, make_text_encoder
from tests.strategies import BUFFER_DAYS, MODALITIES
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline.daily.window import WindowReport, run_window
from updater.pipeline.init import initialize
from updater.pipeline.query import EmbedReport, embed_users
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

NOW = datetime(2024, 6, 1, tzinfo=UTC)
FEATURE_REPO = Path(__file__).parents[1] / "feature_repo"
PUBLISHED = ("offline", "summaries")
PROFILES: dict[str, Any] = {"profile": {"enabled": True}}
"""The tables of a config that publishes textual profiles, as all have whose states are compared over a long way."""


@cache
def _models() -> "TemporaryDirectory[str]":
    made = TemporaryDirectory(prefix="updater-models-")
    make_text_encoder(Path(made.name, "encoder"))
    make_backbone(Path(made.name, "backbone"))
    return made


def encoder_directory() -> str:
    """The small text encoder, made once per test session."""
    return f"{_models().name}/encoder"


def backbone_directory() -> str:
    """The small backbone, made once per test session."""
    return f"{_models().name}/backbone"


def write_config(root: Path, **overrides: Any) -> Path:
    """A config with small models below `root`; a table is merged into the default one, other values replace it."""
    config: dict[str, Any] = {
        "paths": {"lake": "lake", "state": "state", "feature_repo": str(FEATURE_REPO)},
        "buffer": {"days": BUFFER_DAYS, "num_buckets": 1},
        "model": {"text_encoder": encoder_directory(), "backbone": backbone_directory(), "embedding_dim": 8},
        "run": {"processes": 1},
        "modalities": MODALITIES,
        "scenarios": SCENARIOS,
    }
    for name, value in overrides.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    root.mkdir(parents=True, exist_ok=True)
    path = root / "updater.toml"
    path.write_text(toml_text(config), encoding="utf-8")
    return path


def answering_model(settings: Settings, directory: Path) -> str:
    """A random model of a config that answers, as one does that was trained on answers. Returns its directory."""
    model = with_answers(create_model(create_config(settings)))
    save_model(model, directory)
    return str(directory)


@dataclass
class Deployment:
    """An initialized state and its lake."""

    settings: Settings
    now: datetime = NOW

    @classmethod
    def create(cls, root: Path, *, answers: bool = False, **overrides: Any) -> "Deployment":
        """Write the config and initialize the state; with `answers` by a model that has a map to them."""
        settings = load_settings(write_config(root, **overrides), environ={})
        initialize(settings, answering_model(settings, root / "answering") if answers else None)
        return cls(settings)

    @classmethod
    def open(cls, root: Path) -> "Deployment":
        """A deployment that `create` made there."""
        return cls(load_settings(root / "updater.toml", environ={}))

    @property
    def context(self) -> WritableContext:
        """A context with the deployment's clock."""
        return open_writable(self.settings, self.now)

    @property
    def lake(self) -> str:
        """The lake's root."""
        return self.settings.paths.lake

    @property
    def state(self) -> Path:
        """The state's root."""
        return Path(self.settings.paths.state)

    def run(self, days: Iterable[date]) -> list[WindowReport]:
        """Run daily windows."""
        context = self.context
        with ProcessPool(self.settings, context.now) as pool:
            return [run_window(context, pool, ds) for ds in days]

    def embed(self, user: str, query: str | None = None, scenario: str | None = None) -> EmbedReport:
        """A user's embedding for a question or a scenario."""
        context = self.context
        with ProcessPool(self.settings, context.now) as pool:
            (report,) = embed_users(context, pool, [user], query, scenario)
        return report

    def published(self, last: date | None = None) -> dict[str, str]:
        """Digest of every file below offline/ and summaries/ (up to a day), by path: what nothing may change."""
        return {
            path: digest
            for path, digest in tree(self.state, PUBLISHED).items()
            if last is None or path.split("ds=")[1][:10] <= last.isoformat()
        }

    def summary_rows(self, ds: date) -> list[dict[str, Any]]:
        """Stored summaries of a window."""
        return rows_below(self.state / "summaries" / f"ds={ds}")

    def offline_rows(self, view: str, ds: date) -> list[dict[str, Any]]:
        """Offline rows of a view and window."""
        return rows_below(self.state / "offline" / view / f"ds={ds}")

    def text_ids(self) -> list[bytes]:
        """Ids in the segments of text vectors, as often as they are stored."""
        ids: list[bytes] = []
        for path in sorted((self.state / "texts").rglob("*.arrow")):
            ids += pa.ipc.open_file(path.read_bytes()).read_all()["text_id"].to_pylist()
        return ids


def rows_below(directory: Path) -> list[dict[str, Any]]:
    """Rows of all Parquet files of a partition."""
    return [row for path in sorted(directory.glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def tree(root: Path, parts: Iterable[str] = (".",)) -> dict[str, str]:
    """Digest of every file below some directories of `root`, by relative path."""
    # A connection to SQLite that nobody holds any more takes its files away when it is collected: now, not meanwhile.
    gc.collect()
    files = (path for part in parts for path in (root / part).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest() for path in sorted(files)}
