"""A state that version 0.1 wrote opens, asks for a model of today's shape, verifies with it, and goes on."""

import shutil
import tarfile
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from tests.deployment import FEATURE_REPO, rows_below
from tests.factories import bill, land_rows
from updater.domain.columns import PROFILE_VIEW
from updater.errors import ConfigError
from updater.model.checkpoint import create_config, create_model, save_model
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import register_model
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

ARCHIVE = Path(__file__).parents[1] / "data" / "state-0.1.tar.xz"
"""Written by version 0.1: four windows of six users with a late row, a deletion and an erasure; the lake, the config
and the small models it names lie beside the state."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The config of the old state, which was moved to another directory since."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "old-state"
    shutil.copytree(FEATURE_REPO, root / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(root)
    return load_settings(root / "updater.toml", environ={})


def test_a_state_of_version_0_1_takes_a_new_model_verifies_and_goes_on(settings: Settings, tmp_path: Path) -> None:
    initialize(settings)
    context = open_writable(settings)
    new = date(2024, 1, 6)
    land_rows(
        settings.paths.lake, "bill", new, [bill("ana", "new", "2024-01-06 08:00"), bill("fay", "x", "2024-01-06 08:00")]
    )
    land_rows(settings.paths.lake, "search", new, [], columns={"query": pa.string()})
    with ProcessPool(settings, context.now) as pool:
        for refused in (lambda: verify(context, None), lambda: run_window(context, pool, new)):
            with pytest.raises(ConfigError, match=r"an earlier release.*`updater model promote --model DIR`"):
                refused()

    save_model(create_model(create_config(settings)), tmp_path / "model")
    model = register_model(context, tmp_path / "model", "new", trained=False)
    with ProcessPool(settings, context.now) as pool:
        assert promote(context, pool, model, None).verified_users == 5
    report = verify(context, None)
    assert report.differences == []
    assert (report.ds, report.users, report.embeddings) == ("2024-01-05", 5, 10)

    # It knew no profiles: switched on, they reach everybody with the next window.
    settings = load_settings(settings.source, environ={"UPDATER_PROFILE__ENABLED": "true"})
    initialize(settings)
    context = open_writable(settings)
    assert verify(context, None).differences == []
    with ProcessPool(settings, context.now) as pool:
        done = run_window(context, pool, new)
    assert done.prefixes == 5 > done.changed_users
    report = verify(context, None)
    assert report.differences == []
    assert report.users == 5  # the erased user's new row is dropped
    assert len(rows_below(tmp_path / "old-state" / "state" / "offline" / PROFILE_VIEW / f"ds={new}")) == 5
