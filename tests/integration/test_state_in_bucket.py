"""The state in an S3 bucket: the same bytes under the same names as in a directory."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, tree
from tests.strategies import TOUR
from updater.objects.filesystem import objects_at
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify

DATA = ("changes", "events", "models", "offline", "rejected", "staged", "summaries", "texts")
DATABASES: dict[str, Any] = {
    "ledger": {"url": "sqlite:///ledger.db"},
    "registry": {"url": "sqlite:///registry.db"},
    "online_store": {"path": "online.db"},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_bucket(root: Path, bucket: str, **overrides: Any) -> Deployment:
    made = Deployment.create(root, paths={"state": f"s3://{bucket}/state"}, **DATABASES, **overrides)
    TOUR.land(made.lake)
    return made


def objects(bucket: str) -> dict[str, str]:
    """Digest of every object of the state, by name."""
    store, root = objects_at(f"s3://{bucket}/state")
    names = (name for name in store.list(root) if name.split("/")[1] in DATA)
    return {name.partition("/")[2]: sha256(store.get(name).content).hexdigest() for name in names}


def test_a_bucket_holds_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    local = Deployment.create(tmp_path / "local", buffer={"num_buckets": 2})
    TOUR.land(local.lake)
    local.run(TOUR.windows)
    made = in_bucket(tmp_path / "remote", s3_bucket, buffer={"num_buckets": 2})
    made.run(TOUR.windows)
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
    assert verify(made.context, 20).differences == []
    report = status(made.context, check=True)
    assert (report.watermark, report.unfinished, report.rewritten) == (str(TOUR.windows[-1]), [], [])
    assert report.sizes == status(local.context).sizes
    assert report.health is not None and report.health.mismatch_share == 0
