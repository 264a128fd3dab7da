"""How training data is built for a deployment: of which users, and by how many processes."""

import fcntl
import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.dags.test_train_model import SCENARIOS, TRAINING
from tests.evaluation_lake import write_evaluation
from updater.domain.buckets import bucket_of, is_sampled
from updater.errors import ConfigError
from updater.lake import partitions
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.init import create_ledger, initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.state_lock import Lock
from updater.settings import load_settings
from updater.training.build import build_anchors, build_data, data_root, make_recipe, plan_build
from updater.training.useru import dataset
from updater.training.useru.dataset import read_split

NUM_BUCKETS = 6


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return made(tmp_path_factory.mktemp("build"))


def made(root):
    config = write_evaluation(root, training={**TRAINING, "objective": "paper"}, scenarios=SCENARIOS)
    settings = load_settings(config, environ={"UPDATER_BUFFER__NUM_BUCKETS": str(NUM_BUCKETS)})
    create_ledger(settings)
    return settings


def build(settings, progress=None):
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        return build_data(context, pool, *([progress] if progress else []))


def users(settings):
    return set(read_split(data_root(settings), "train")["user_id"].to_pylist())


def files(settings):
    found = sorted(Path(data_root(settings)).rglob("*.parquet"))
    return {str(path.relative_to(data_root(settings))): hashlib.md5(path.read_bytes()).hexdigest() for path in found}


def test_two_processes_share_an_anchor_day_and_write_the_same_files(settings):
    said = []
    alone = build(settings, lambda *reported: said.append(reported))
    assert [label for label, _, _ in said if label.startswith("building training data (")]
    made, known = files(settings), users(settings)
    assert len(made) == NUM_BUCKETS * len(alone) and known

    for path in Path(data_root(settings)).rglob("*"):
        if path.is_file():
            path.unlink()
    steps = []
    both = build(replace(settings, run=replace(settings.run, processes=2)), lambda *reported: steps.append(reported))

    assert both == alone
    assert files(settings) == made
    # An anchor day is no job of one process: with one day there would be work for both.
    assert steps[-1][1:] == (NUM_BUCKETS * len(alone),) * 2
    assert steps[-1][0] == f"building training data ({sum(day.num_rows for day in both):,} pairs)"


def test_a_share_of_the_users_is_always_the_same_and_nested(settings):
    build(settings)
    everybody = users(settings)
    some = {}
    for share in (0.25, 0.6):
        few = replace(settings, training=replace(settings.training, users_share=share))
        build(few)
        some[share] = users(few)
        assert some[share] == {user for user in everybody if is_sampled(user, share)}
    assert some[0.25] < some[0.6] < everybody
    build(settings)
    assert users(settings) == everybody


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(settings, share):
    with pytest.raises(ConfigError, match="users_share"):
        replace(settings.training, users_share=share)


def test_who_is_erased_between_reading_and_writing_is_in_no_file(tmp_path, monkeypatch):
    settings = made(tmp_path)
    initialize(settings)
    build(settings)
    gone = min(users(settings))
    bucket = bucket_of(gone, NUM_BUCKETS)
    context = open_writable(settings)
    plan = plan_build(settings)
    recipe, [anchor, *_] = make_recipe(context, plan), plan.anchors
    before = {row["user_id"]: row for row in written(settings, anchor, bucket)}
    for path in Path(data_root(settings)).rglob(f"bucket-{bucket:03d}.parquet"):
        path.unlink()
    read = dataset.rows_of_bucket

    def read_and_erase(*args):
        rows = read(*args)
        erase(context, [gone])
        return rows

    monkeypatch.setattr(dataset, "rows_of_bucket", read_and_erase)
    [made_now] = build_anchors(settings, context.now, plan, recipe, [anchor], [bucket])
    found = {row["user_id"]: row for row in written(settings, anchor, bucket)}
    assert gone in before and found == {user: row for user, row in before.items() if user != gone}
    assert made_now.num_rows == len(written(settings, anchor, bucket))
    assert find(context, [gone]).places == []


def test_no_erasure_runs_while_a_file_is_written(tmp_path, monkeypatch):
    """One that began would have listed the files before, and would not find this one."""
    settings = made(tmp_path)
    write, tried = partitions.write_table, []

    def write_table(path, *args):
        if path.startswith(data_root(settings)):
            with Path(settings.paths.state, f"{Lock.REWRITING}.lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    tried.append("an erasure could begin")
                except BlockingIOError:
                    tried.append("held off")
        write(path, *args)

    monkeypatch.setattr(partitions, "write_table", write_table)
    built = build(settings)
    assert tried == ["held off"] * (NUM_BUCKETS * len(built))


def written(settings, anchor: date, bucket):
    return partitions.read_table(f"{data_root(settings)}/ds={anchor}/bucket-{bucket:03d}.parquet").to_pylist()
