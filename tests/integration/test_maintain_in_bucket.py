"""Maintenance of a state in a bucket: the files of a directory, and nothing of the removed ones in any version."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import PROFILES, Deployment, tree, write_config
from tests.integration.test_compact import DAYS, Killed, die_at, land
from tests.s3_server import S3Server
from tests.state_objects import DATA, DATABASES, objects
from updater.ledger import RetiredFile
from updater.objects.filesystem import objects_at
from updater.objects.s3_versions import versions_below
from updater.pipeline.compact.report import MaintenanceReport
from updater.pipeline.compact.run import maintain, plan_maintenance
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

pytestmark = pytest.mark.slow

# From the end of a month to the end of the next one's third week.
SOME = DAYS[:22]
RETENTION = {"history_days": 1, "rejected_days": 5}
CONFIG: dict[str, Any] = {"buffer": {"num_buckets": 2}, "retention": RETENTION, **PROFILES}
CLOCKS = (1, 26)
"""Hours after the windows: files are merged, and after the grace period removed."""
POINTS = ("after:merged_events", "before:swapped", "after:merged_bucket", "after:merged_texts")
LATER_POINTS = ("before:pruned", "after:removed", "before:noted")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A state in a directory, before its first maintenance."""
    made = Deployment.create(tmp_path_factory.mktemp("built") / "made", **DATABASES, **CONFIG)
    for ds in SOME:
        land(made.lake, ds)
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        backfill(context, pool, SOME[0], SOME[-1])
    return made


def in_directory(built: Deployment, root: Path) -> Deployment:
    shutil.copytree(Path(built.settings.source).parent, root)
    return Deployment.open(root)


def in_bucket(built: Deployment, root: Path, bucket: str) -> Deployment:
    """A state that is moved to a bucket: its files are put there under their names."""
    shutil.copytree(Path(built.settings.source).parent, root, ignore=shutil.ignore_patterns("state"))
    config = write_config(root, paths={"state": f"s3://{bucket}/state"}, **DATABASES, **CONFIG)
    store, prefix = objects_at(f"s3://{bucket}/state")
    for path in sorted(path for path in built.state.rglob("*") if path.is_file() and path.suffix != ".lock"):
        store.put_file(f"{prefix}/{path.relative_to(built.state)}", str(path))
    made = Deployment(load_settings(config, environ={}))
    initialize(made.settings)
    return made


def maintain_at(made: Deployment, hours: int) -> MaintenanceReport:
    return maintain(replace(made, now=made.now + timedelta(hours=hours)).context)


def outcome(made: Deployment, files: dict[str, str]) -> tuple[dict[str, str], dict[str, RetiredFile], date | None]:
    ledger = made.context.ledger
    return files, ledger.retired(), ledger.earliest_recomputable()


def test_a_bucket_is_maintained_as_a_directory_is(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, built: Deployment
) -> None:
    bucket = s3_server.bucket(versions=True)
    local, made = in_directory(built, tmp_path / "local"), in_bucket(built, tmp_path / "remote", bucket)
    before = objects(bucket)
    planned = plan_maintenance(replace(made, now=made.now + timedelta(hours=1)).context)
    assert objects(bucket) == before, "a dry run changes nothing"
    for hours in CLOCKS:
        expected, report = maintain_at(local, hours), maintain_at(made, hours)
        assert report == expected
        assert outcome(made, objects(bucket)) == outcome(local, tree(local.state, DATA))
        if hours == CLOCKS[0]:
            assert {name: part.merged for name, part in report.parts.items()} == {
                name: part.merged for name, part in planned.parts.items()
            }
    assert sum(part.removed for part in report.parts.values()) > 50
    assert len(objects(bucket)) < len(before) / 2
    # Not even a version is left of what was removed.
    kept = {version.key for version in versions_below(s3_server.access, bucket, "state/")}
    assert kept == set(objects_at(f"s3://{bucket}/state")[0].list("state"))
    assert verify(made.context, None).differences == []
    land(made.lake, SOME[-1] + timedelta(days=1))
    made.run([SOME[-1] + timedelta(days=1)])
    assert verify(made.context, None).differences == []


@pytest.mark.campaign
@pytest.mark.parametrize("points", [POINTS, LATER_POINTS], ids=["merging", "removing"])
def test_a_killed_maintenance_of_a_bucket_goes_on(
    tmp_path: Path, s3_bucket: str, built: Deployment, monkeypatch: pytest.MonkeyPatch, points: Sequence[str]
) -> None:
    local, made = in_directory(built, tmp_path / "local"), in_bucket(built, tmp_path / "remote", s3_bucket)
    for hours in CLOCKS:
        maintain_at(local, hours)
    ends = []
    for hours in CLOCKS:
        for point in points:
            with monkeypatch.context() as patch:
                patch.setattr("updater.runtime.crash_points.reach", die_at(point))
                try:
                    maintain_at(made, hours)
                except Killed:
                    ends.append(point)
        maintain_at(made, hours)
    assert set(ends) == set(points)
    assert outcome(made, objects(s3_bucket)) == outcome(local, tree(local.state, DATA))
    assert verify(made.context, None).differences == []
