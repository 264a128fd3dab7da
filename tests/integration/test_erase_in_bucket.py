"""Users leave a state in a bucket, in all versions of its files that the bucket keeps."""

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment, tree
from tests.integration.test_erase import CONFIG, GONE, SHORT, land, places
from tests.s3_server import S3Server
from tests.state_objects import DATA, DATABASES, objects
from tests.strategies import TOUR
from updater.lake import partitions
from updater.objects.s3_versions import request, versions_below
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify

DAYS = TOUR.windows[:2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_bucket(root: Path, bucket: str) -> Deployment:
    made = Deployment.create(root, paths={"state": f"s3://{bucket}/state"}, **DATABASES, **CONFIG)
    land(made.lake)
    made.run(DAYS)
    return made


def erased_in_a_directory(root: Path) -> Deployment:
    made = Deployment.create(root, **CONFIG)
    land(made.lake)
    made.run(DAYS)
    erase(made.context, [GONE])
    return made


def versions_with(server: S3Server, bucket: str, user: str) -> list[str]:
    """Keys of the versions of Parquet files, present ones too, that have a row of a user."""
    found = []
    for version in versions_below(server.access, bucket, ""):
        content = (
            b"" if version.is_marker else request(server.access, "GET", bucket, version.key, {"versionId": version.id})
        )
        if content[:4] == b"PAR1":
            table = pq.read_table(BytesIO(content))
            if "user_id" in table.column_names and user in table["user_id"].to_pylist():
                found.append(version.key)
    return found


def test_an_erased_user_leaves_all_versions_and_the_bytes_of_a_directory(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_server.bucket(versions=True)
    made = in_bucket(tmp_path / "remote", bucket)
    root = made.settings.paths.state
    # What somebody deleted by hand, and what somebody put over: the bucket keeps both.
    gone, kept = f"{root}/training/labels.parquet", f"{root}/training/others.parquet"
    for path, users in ((gone, [GONE, "ann"]), (kept, ["ann"])):
        partitions.write_table(path, pa.table({"user_id": users}))
        request(s3_server.access, "DELETE", bucket, path.removeprefix(f"s3://{bucket}/"))
    over = f"{root}/changes/bill/ds={DAYS[0]}/changes.parquet"
    partitions.write_table(over, partitions.read_table(over))
    found = places(made, GONE)
    assert any(gone in place and "version" in place for place in found)
    assert any(over in place and "version" in place for place in found)
    assert any("online store" in place for place in found)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("updater.runtime.crash_points.reach", die)
        erase(made.context, [GONE])
    # The next erasure rewrites nothing, and finds what the files were before all the same.
    assert versions_with(s3_server, bucket, GONE) != []
    assert all("version" in place or "online store" in place for place in places(made, GONE))
    report = erase(made.context, [GONE])
    assert report.rows == 0 < min(report.files_removed, report.online_rows)
    assert places(made, GONE) == []
    assert versions_with(s3_server, bucket, GONE) == []
    assert versions_with(s3_server, bucket, SHORT) != []
    assert versions_with(s3_server, bucket, "ann").count("state/training/others.parquet") == 1
    assert objects(bucket) == tree(erased_in_a_directory(tmp_path / "local").state, DATA)
    assert erase(made.context, [GONE]).files_removed == 0
    assert verify(made.context, None).differences == []
    made.run(TOUR.windows[2:3])
    assert places(made, GONE) == []


def die(point: str) -> None:
    """In the place of `reach`: the process ends when the files are rewritten."""
    if point == "before:versions_removed":
        raise KeyboardInterrupt
