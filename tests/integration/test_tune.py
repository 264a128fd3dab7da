"""Tuning a model whose anchors lie before the first window."""

from tests.evaluation_lake import write_evaluation
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.training.tuning.tune import tune_scenarios


def test_days_that_no_window_has_processed_are_landed_and_encoded(tmp_path):
    settings = load_settings(write_evaluation(tmp_path, tuning={"steps": 2}, run={"processes": 1}), environ={})
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        (report,) = tune_scenarios(context, pool, f"{settings.paths.state}/models/v1", ["lapse"])
    assert report.tasks == 1
    assert report.labels > 0
