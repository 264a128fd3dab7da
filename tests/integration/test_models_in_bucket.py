"""Evaluation, fidelity, explanations and training on a state in a bucket: what they find in a directory."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.dags.test_train_model import SCENARIOS, TRAINING
from tests.deployment import tree
from tests.evaluation_lake import TRAIN, write_evaluation
from tests.fidelity_lake import FIRST, write_lake
from tests.state_objects import DATABASES
from updater.cli import main
from updater.lake import partitions
from updater.objects.filesystem import objects_at
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.training.build import build_data, data_root
from updater.training.useru.dataset import read_split

pytestmark = pytest.mark.slow

TRAINED: dict[str, Any] = {
    "model": {"backbone": "tiny"},
    "training": TRAINING,
    "tuning": {"steps": 2, "users_per_step": 8, "tokens": 2},
    "scenarios": SCENARIOS,
}
COSTS = ("cpu_ms_per_user",)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1717200000")
    return tmp_path / "cache"


def call(config: Path, *args: str) -> Result:
    done = CliRunner().invoke(main, [*args, "--config", str(config)])
    assert done.exit_code == 0, (args, done.output, done.exception)
    return done


def said(config: Path, *args: str) -> Any:
    return json.loads(call(config, *args, "--json").stdout)


def without(value: Any, names: tuple[str, ...]) -> Any:
    """JSON without some keys, wherever they are."""
    if isinstance(value, dict):
        return {name: without(each, names) for name, each in value.items() if name not in names}
    return [without(each, names) for each in value] if isinstance(value, list) else value


def names_below(bucket: str, part: str) -> set[str]:
    store, root = objects_at(f"s3://{bucket}/state/{part}")
    return {name.removeprefix(f"{root}/") for name in store.list(root)}


@pytest.mark.campaign
def test_a_model_is_trained_tuned_evaluated_and_goes_live(tmp_path: Path, s3_bucket: str, own_cache: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboard")
    local = write_evaluation(tmp_path / "local", **TRAINED)
    remote = write_evaluation(tmp_path / "remote", **TRAINED, paths={"state": f"s3://{s3_bucket}/state"}, **DATABASES)
    found: dict[Path, Any] = {}
    for config in (local, remote):
        call(config, "init")
        call(config, "backfill", "--from-date", str(TRAIN[0]), "--to-date", str(TRAIN[0].replace(day=2)))
        trained = said(config, "model", "train")
        model = Path(trained["model"])
        tuned = said(config, "model", "tune", "--model", str(model))
        report = said(config, "model", "evaluate", "--model", tuned["model"])
        found[config] = {
            "files": tree(model),
            "tuned": tree(Path(tuned["model"])),
            "report": without(report["report"], COSTS),
            "gate": report["gate"],
            "promoted": said(config, "model", "promote", "--model", tuned["model"]),
            "versions": without(said(config, "report")["versions"], COSTS),
            "baselines": without(said(config, "model", "evaluate", "--version", "2")["report"], COSTS),
            "similar": said(config, "user", "similar", "--user-id", "u1", "--scenario", "lapse"),
            "explained": said(config, "user", "explain", "--user-id", "u1", "--scenario", "lapse"),
        }
        if config == remote:
            assert model.is_relative_to(own_cache), "checkpoints and trained models stay on the machine"
    assert found[remote] == found[local]
    assert "fitted" in found[remote]["report"]["mean"]
    assert report["report_file"] == f"s3://{s3_bucket}/state/evaluation/report.json"
    kept = names_below(s3_bucket, "evaluation")
    assert {"report.json", "report.html"} <= kept
    assert kept == {name for name in tree(local.parent / "state" / "evaluation") if not name.startswith("scratch")}
    assert names_below(s3_bucket, "training") == set()
    # What is embedded is kept in the bucket: nobody is embedded again.
    said(remote, "model", "evaluate", "--version", "2", "--output", str(tmp_path / "report"))
    assert names_below(s3_bucket, "evaluation") == kept
    assert (tmp_path / "report" / "report.html").exists()
    call(remote, "state", "verify", "--all")


def test_what_a_day_keeps_is_read_back(tmp_path: Path, s3_bucket: str) -> None:
    pytest.importorskip("jinja2")
    local = write_lake(tmp_path / "local")
    remote = write_lake(tmp_path / "remote", paths={"state": f"s3://{s3_bucket}/state"}, **DATABASES)
    found: dict[Path, Any] = {}
    for config in (local, remote):
        call(config, "init")
        call(config, "backfill", "--from-date", str(FIRST), "--to-date", str(FIRST.replace(day=3)))
        found[config] = said(config, "model", "fidelity", "--users", "60")
    assert found[remote]["report"] == found[local]["report"]
    assert found[remote]["report"]["parity"]["holds"] and found[remote]["report"]["locality"]["holds"]
    kept = names_below(s3_bucket, "evaluation/fidelity")
    assert kept == {name for name in tree(local.parent / "state" / "evaluation" / "fidelity")}
    report = f"s3://{s3_bucket}/state/evaluation/fidelity/ds={FIRST.replace(day=3)}/report.json"
    fs, path = partitions.filesystem(report)
    assert json.loads(fs.cat_file(path)) == found[remote]["report"]


def test_training_data_has_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    paper: dict[str, Any] = {"training": {**TRAINING, "objective": "paper"}, "scenarios": SCENARIOS}
    local = write_evaluation(tmp_path / "local", **paper)
    remote = write_evaluation(tmp_path / "remote", **paper, paths={"state": f"s3://{s3_bucket}/state"}, **DATABASES)
    built = []
    for config in (local, remote):
        settings = load_settings(config, environ={})
        create_ledger(settings)
        context = open_writable(settings)
        with ProcessPool(settings, context.now) as pool:
            built.append(build_data(context, pool))
            assert build_data(context, pool) == built[-1], "again it finds them made"
    assert built[0] == built[1] and built[0]
    store, root = objects_at(f"s3://{s3_bucket}/state/training")
    found = {name.removeprefix(f"{root}/"): sha256(store.get(name)).hexdigest() for name in store.list(root)}
    assert found == tree(local.parent / "state" / "training")
    assert read_split(data_root(settings), "train").num_rows > 0
