"""The configs of the made-up lakes' benchmarks fit these lakes, and the page has what was measured."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.ceiling.evaluation import TEST_ANCHOR, TRAIN_ANCHORS
from updater.evaluation.evaluation_set import _split, _tasks
from updater.settings import load_settings
from updater.sources import codes, population

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_days_of_the_log_hold_all_anchors_and_labels():
    settings, spec = load_settings(BENCHMARKS / "codes" / "updater.toml", environ={}), codes.CodesSpec()
    anchors, tasks = _split(settings, "test"), _tasks(settings)

    assert spec.first_day + timedelta(days=settings.buffer.days - 1) <= min(anchors.train)
    assert max(anchors.test) + timedelta(days=max(task.rule.horizon_days for task in tasks)) <= spec.last_day
    # What is learned from is known before the validation begins.
    assert settings.training.until <= min(anchors.validation)
    assert {task.kind for task in tasks} == {"occurs", "lapses"}
    assert {modality.name for modality in settings.modalities} == {*codes.MODALITIES}


def test_the_product_learns_nothing_after_the_labels_of_the_ceilings_probes():
    settings = load_settings(BENCHMARKS / "ceiling" / "updater.toml", environ={})
    spec = population.PopulationSpec()
    ends = max(TRAIN_ANCHORS) + max(question.horizon_days for question in population.questions())

    assert settings.training.until == spec.first_day + timedelta(days=ends)
    assert ends < TEST_ANCHOR
    assert settings.buffer.days == population.HISTORY_DAYS <= min(TRAIN_ANCHORS) + 1
    assert [modality.name for modality in settings.modalities] == ["purchase", "step", "visit", "mailing", "answer"]
    assert settings.training.anchors(spec.first_day + timedelta(days=89), settings.training.until)


def test_the_page_has_the_report():
    pytest.importorskip("torch")
    from benchmarks.codes.__main__ import tables

    report = json.loads((BENCHMARKS / "codes" / "report.json").read_text())
    page = (BENCHMARKS / "codes" / "README.md").read_text()
    assert tables(report) in page
    for value in (report["command"], report["commit"], str(report["cpu_seconds"])):
        assert value in page
