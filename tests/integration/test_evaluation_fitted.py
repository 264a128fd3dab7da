"""The gate cannot be passed without learning: its control knows all that is fitted to the data and not learned."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.dags.test_train_model import SCENARIOS, TRAINING
from tests.evaluation_lake import write_evaluation
from updater.cli import main
from updater.evaluation.report import gate
from updater.model.checkpoint import model_digest
from updater.model.config import create_config
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.training.build import build_data
from updater.training.fitted import fitted_model

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A state with training data, without a live model, and the directory of a model after no step of training."""
    root = tmp_path_factory.mktemp("fitted")
    config = write_evaluation(root, model={"backbone": "tiny"}, training=TRAINING, scenarios=SCENARIOS)
    settings = load_settings(config, environ={})
    create_ledger(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        build_data(context, pool)
    return config, fitted_model(context, create_config(settings))


@pytest.fixture(scope="module")
def found(scene):
    config, model = scene
    args = ["model", "evaluate", "--model", model, "--json", "--config", str(config)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_model_that_is_fitted_and_not_trained_does_not_pass(found):
    report = found["report"]
    assert report["differences"]["base-fitted"]["auc"] == 0.0
    assert any("base is +0.0000 from that of fitted" in reason for reason in found["gate"])
    # Random weights alone are no match, so that a gate against them would have been no gate.
    assert report["mean"]["fitted"]["auc"] != report["mean"]["untrained"]["auc"]
    better = {**report["differences"], "base-fitted": {"auc": 0.02, "auc_se": 0.005}}
    assert not any("fitted" in reason for reason in gate({**report, "differences": better}))


def test_a_model_is_evaluated_before_any_is_live_and_bears_the_name_of_its_directory(scene, found):
    assert found["model"] == Path(scene[1]).name
    assert "live" not in found["report"]["mean"]


def test_the_control_is_made_once(scene):
    config, model = scene
    settings = load_settings(config, environ={})
    before = model_digest(model)
    assert fitted_model(open_writable(settings), create_config(settings)) == model
    assert model_digest(model) == before


def test_init_refuses_to_ignore_a_model(scene):
    config, model = scene

    def init(*args):
        return CliRunner().invoke(main, ["init", *args, "--config", str(config)])

    assert init("--model", model).exit_code == 0
    assert init("--model", model).exit_code == init().exit_code == 0
    other = Path(model, "..", "..", "other").resolve()
    other.mkdir()
    for file in Path(model).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    refused = init("--model", str(other))
    assert refused.exit_code == 2
    assert f"updater model promote --model {other}" in refused.stderr and "keeps" in refused.stderr
