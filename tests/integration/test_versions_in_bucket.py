"""Model versions of a state in a bucket: the files and the bytes that a directory has, whole or not there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deployment import PROFILES, Deployment, tree, write_config
from tests.state_objects import DATA, DATABASES, objects
from tests.strategies import TOUR
from updater.errors import ConfigError, NotFoundError
from updater.ledger import ModelRecord
from updater.model.checkpoint import create_config, create_model, model_digest, save_model
from updater.objects.filesystem import S3FileSystem, objects_at
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import model_version, prune_version, register_model
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.repository.features import model_versions

DAYS = TOUR.windows[:3]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(root: Path, bucket: str | None = None) -> Deployment:
    remote = {"paths": {"state": f"s3://{bucket}/state"}, **DATABASES} if bucket else {}
    made = Deployment.create(root, **PROFILES, **remote)
    TOUR.land(made.lake)
    made.run(DAYS[:2])
    return made


def new_model(made: Deployment, directory: Path, seed: int = 99) -> Path:
    save_model(create_model(create_config(made.settings), seed), directory)
    return directory


def make_live(made: Deployment, model: ModelRecord) -> None:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        assert promote(context, pool, model, None).rows > 0


def test_versions_come_and_go_as_in_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    local, made = make(tmp_path / "local"), make(tmp_path / "remote", s3_bucket)
    directory = new_model(made, tmp_path / "new")
    for deployment in (local, made):
        make_live(deployment, register_model(deployment.context, directory, "new", trained=True))
        deployment.run(DAYS[2:])
    assert model_versions(made.settings) == (1, 2)
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
    for deployment in (local, made):
        former = prune_version(deployment.context, 1)
        assert (former.version, former.offline_files > 0, prune_version(deployment.context, 1).already_done) == (
            1,
            True,
            True,
        )
    assert model_versions(made.settings) == (2,)
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert not any("/lapse_v1/" in name for name in objects(s3_bucket))
    with pytest.raises(NotFoundError, match="was removed"):
        model_version(made.context, 1)


def die_at(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, number: int) -> Callable[[], None]:
    """Let the process end when it calls something for the `number`th time, until the result is called."""
    real, calls = getattr(owner, name), []

    def call(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return lambda: monkeypatch.setattr(owner, name, real)


def test_a_version_of_which_a_file_is_missing_is_none(
    tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, paths={"state": f"s3://{s3_bucket}/state"}, **DATABASES, **PROFILES)
    made = Deployment(load_settings(config, environ={}))
    first, directory = new_model(made, tmp_path / "first", 98), new_model(made, tmp_path / "new")
    initialize(made.settings, str(first))
    live = made.context.live_model()
    assert (live.trained, live.digest) == (True, model_digest(first))
    assert register_model(made.context, first, "first", trained=True) == live
    live_again = die_at(monkeypatch, S3FileSystem, "put_file", 3)
    with pytest.raises(Killed):
        register_model(made.context, directory, "new", trained=True)
    live_again()
    assert model_versions(made.settings) == (1,)
    with pytest.raises(NotFoundError, match="register its model again"):
        model_version(made.context, 2)
    (record,) = [register_model(made.context, directory, "other", trained=True)]
    assert (record.version, record.name[:7]) == (2, "v2-new-")
    assert model_versions(made.settings) == (1, 2)

    live_again = die_at(monkeypatch, S3FileSystem, "rm", 2)
    with pytest.raises(Killed):
        prune_version(made.context, 2)
    live_again()
    assert model_versions(made.settings) == (1,)
    assert prune_version(made.context, 2).already_done
    store, root = objects_at(f"s3://{s3_bucket}/state/models")
    assert {name.rpartition("/")[0] for name in store.list(root)} == {"state/models/v1"}

    (directory / "config.json").unlink()
    with pytest.raises(ConfigError, match="no complete model"):
        register_model(made.context, directory, "new", trained=True)
