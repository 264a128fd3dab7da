"""`updater model evaluate` on a small lake, from the command line to the page."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner

from tests.deployment import tree
from tests.evaluation_lake import TEST, TRAIN, events_of, write_evaluation
from updater.cli import main
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.systems.compared import Candidate, embedding_systems, publish_recency
from updater.evaluation.systems.costs import Cost
from updater.evaluation.systems.embedding import DAYS_SINCE, Embedder
from updater.evaluation.systems.vectors import UserVectors, Vectors
from updater.labels.events import open_events
from updater.labels.tables import label_tables
from updater.labels.tasks import question, read_tasks
from updater.lake.partitions import read_table
from updater.model.checkpoint import load_model
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.scratch import Scratch

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

SYSTEMS = [
    "tuned",
    "base",
    "without_layers",
    "untrained",
    "text",
    "with_counts",
    "rfm",
    "rfm_gb",
    "rfm_categories",
    "rfm_decayed",
    "recency",
]
TASKS = ["buys", "will_buy_dairy", "will_buy_rice", "will_buy_tea"]


def call(config, *args):
    return CliRunner().invoke(main, [*args, "--config", str(config)])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = write_evaluation(tmp_path_factory.mktemp("evaluate"))
    assert call(config, "init").exit_code == 0
    return config


def test_the_whole_verb(config):
    done = call(config, "model", "evaluate", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    report = found["report"]

    assert list(report["mean"]) == SYSTEMS
    assert list(report["tasks"]) == TASKS
    assert all(list(systems) == SYSTEMS for systems in report["tasks"].values())
    assert {"tuned-base", "base-text", "base-rfm_decayed", "with_counts-base"} <= set(report["differences"])
    assert list(report["family"]) == ["will_buy_{value}"]
    assert report["ablations"] == report["paraphrases"] == {}
    assert (report["model"], report["split"], report["gate"]) == (found["model"], "test", found["gate"])
    (version,) = json.loads(call(config, "report", "--json").stdout)["versions"]
    assert version["evaluation"]["auc"] == {name: values["auc"] for name, values in report["mean"].items()}
    assert version["evaluation"]["gate"] == found["gate"]
    mean = report["mean"]
    assert all(mean[name]["cpu_ms_per_user"] > 0 for name in SYSTEMS)
    assert mean["recency"]["cpu_ms_per_user"] < mean["text"]["cpu_ms_per_user"]
    settings = load_settings(config, environ={})
    [text] = read_table(Embedder().file(open_writable(settings), TEST[0]))["q0"].slice(0, 1).to_pylist()
    assert (mean["text"]["bytes_per_user"], mean["text"]["vectors_per_user"]) == (4 * len(text), 1)
    # Four questions.
    assert mean["base"]["bytes_per_user"] == 4 * 4 * settings.model.embedding_dim
    assert mean["base"]["vectors_per_user"] == 4
    assert (
        mean["with_counts"]["bytes_per_user"]
        == mean["base"]["bytes_per_user"] + mean["rfm_categories"]["bytes_per_user"]
    )
    rows = {task: {values["rows"] for values in systems.values()} for task, systems in report["tasks"].items()}
    assert all(len(counts) == 1 for counts in rows.values())
    # The model has no soft prompts and is untrained, so that these are one and the same.
    for name in ("auc", "ks", "held_out_auc"):
        assert report["mean"]["tuned"][name] == report["mean"]["base"][name] == report["mean"]["untrained"][name]
    assert report["differences"]["tuned-base"]["auc"] == 0.0
    # There is no training data, so nothing was trained.
    assert "base was not compared with fitted." in found["gate"]
    assert any("from that of rfm_categories" in said for said in found["beside"])
    # How often somebody buys decides whether they buy three times in three days.
    assert report["tasks"]["buys"]["rfm"]["auc"] > 0.7

    state = config.parent / "state" / "evaluation"
    assert json.loads((state / "report.json").read_text()) == report
    page = (state / "report.html").read_text()
    assert page.count("<svg") == 2 and "data:image/png;base64," in page
    assert not list(state.glob("scratch-*"))


def test_a_scenario_that_learned_only_a_shift_is_evaluated_as_it_was_tuned(config, tmp_path):
    context = open_writable(load_settings(config, environ={}))
    model = load_model(context.model_directory(context.live_model().version))
    scenario = next(
        asked.scenario
        for task in read_tasks(context.settings.evaluation.tasks)
        if (asked := question(context.settings, task)).scenario
    )
    width = model.layout.counts.question_keys.linear.out_features
    model.question_shifts[scenario] = torch.nn.Parameter(torch.linspace(-1.0, 1.0, width))
    model.save_pretrained(tmp_path / "tuned")
    done = call(
        config,
        "model",
        "evaluate",
        "--model",
        str(tmp_path / "tuned"),
        "--systems",
        "tuned,base",
        "--json",
        "--output",
        str(tmp_path),
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["report"]
    assert report["mean"]["tuned"]["vectors_per_user"] == 5
    assert report["differences"]["tuned-base"]["auc"] != 0.0


def test_again_it_embeds_nobody_and_writes_where_it_should(config, tmp_path):
    cached = tree(config.parent / "state" / "evaluation" / "embeddings")
    assert cached

    done = call(
        config,
        "model",
        "evaluate",
        "--systems",
        "base,text",
        "--split",
        "validation",
        "--output",
        str(tmp_path / "out"),
    )
    assert done.exit_code == 0, done.output
    assert "means over 4 tasks" in done.stdout and "does not pass the gate" in done.stdout
    assert tree(config.parent / "state" / "evaluation" / "embeddings") == cached
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["mean"]) == ["base", "text"]
    # Nothing that is reported may have chosen the penalty.
    assert {values["inverse_penalty"] for values in report["mean"].values()} == {0.02}


def test_a_paraphrase_takes_the_place_of_the_wording(config, tmp_path):
    args = ["model", "evaluate", "--systems", "base", "--split", "validation", "--output", str(tmp_path), "--json"]
    done = call(config, *args, "--paraphrases", "5")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["report"]
    each = found["paraphrases"]["each"]
    assert [one["tasks"] for one in each.values()] == [2, 1]
    assert list(found["paraphrases"]["tasks"]["buys"]) == ["Who keeps coming?", "Is this a regular?"]

    # The long way: a task file with other queries, whose probes have the same fixed penalty.
    tasks = Path(load_settings(config, environ={}).evaluation.tasks)
    text = tasks.read_text()
    reworded = text.replace('name = "buys"', 'name = "buys"\nquery = "Is this a regular?"')
    try:
        tasks.write_text(reworded)
        asked = json.loads(call(config, *args).stdout)["report"]
    finally:
        tasks.write_text(text)
    assert asked["tasks"]["buys"]["base"]["auc"] == each["2"]["auc"] != found["tasks"]["buys"]["base"]["auc"]


def test_a_paraphrase_of_no_task_is_named(config, monkeypatch):
    monkeypatch.setenv("UPDATER_EVALUATION__PARAPHRASES", "1")
    tasks = Path(load_settings(config, environ={}).evaluation.tasks)
    text = tasks.read_text()
    try:
        tasks.write_text(text.replace("will_buy_tea = [", "will_buy_tee = ["))
        done = call(config, "model", "evaluate", "--systems", "base")
    finally:
        tasks.write_text(text)
    assert done.exit_code == 2
    assert "paraphrases.will_buy_tee" in done.stderr and "did you mean 'will_buy_tea'" in done.stderr


def test_external_systems_and_other_models_are_scored_beside_the_candidate(config):
    settings = load_settings(config, environ={})
    context = open_writable(settings)
    model = context.model_directory(1)

    def oracle(query, anchor):
        assert query in {"dairy in the next week?", "rice in the next week?", "tea in the next week?", lapse}
        return UserVectors(np.array(["u1", "u0"]), np.array([[1.0, 2.0], [3.0, 4.0]]) + anchor.day)

    lapse = next(scenario.query for scenario in settings.scenarios if scenario.name == "lapse")
    with open_events(context) as events, Scratch(settings) as scratch, ProcessPool(settings, context.now) as pool:
        evaluation_set = load_evaluation_set(events)
        candidate = Candidate(model, models={"twin": model})
        names, external = ["base", "with_counts"], {"oracle": lambda: Vectors(oracle, Cost(1.0, 8))}
        systems, scored = evaluate_systems(
            context, pool, events, evaluation_set, candidate, names, scratch, external=external
        )
        known = {system.name: system for system in systems}
        task = evaluation_set.tasks[0]
        rows = evaluation_set.rows[task.name].table
        given = np.concatenate(known["oracle"].parts(task, rows), axis=1)
        base, both = (np.concatenate(known[name].parts(task, rows), axis=1) for name in ("base", "with_counts"))
        twin = np.concatenate(known["twin"].parts(task, rows), axis=1)

    assert list(scored) == ["base", "with_counts", "twin", "oracle"]
    assert scored["oracle"].cost == Cost(1.0, 8)
    expected = {"u0": [3.0, 4.0], "u1": [1.0, 2.0]}
    for user, anchor, row in zip(rows["user_id"].to_pylist(), rows["anchor"].to_pylist(), given, strict=True):
        assert row[:2].tolist() == [x + anchor.day for x in expected[user]] if user in expected else not row[:2].any()
    assert (given[:, 2] == base[:, -1]).all()
    assert (both[:, : base.shape[1]] == base).all() and both.shape[1] > base.shape[1]
    assert (twin == base).all()


def test_it_prints_the_tasks_and_what_counts_reach(config):
    done = call(config, "model", "evaluate", "--systems", "base,text,rfm_categories")
    assert done.exit_code == 0, done.output
    assert "AUC of each task" in done.stdout and all(task in done.stdout for task in TASKS)
    assert "Beside it: the mean AUC of base is" in done.stdout


@pytest.mark.parametrize("systems", ["rfm", "rfm,recency,text"])
def test_baselines_take_no_model(tmp_path, systems):
    config = write_evaluation(tmp_path)
    done = call(config, "model", "evaluate", "--systems", systems, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(json.loads(done.stdout)["report"]["mean"]) == sorted(systems.split(","))


def test_without_a_model_the_way_out_is_said_before_anything_is_read(tmp_path, monkeypatch):
    config = write_evaluation(tmp_path)
    monkeypatch.setattr("updater.evaluation.evaluate.open_events", lambda *_: pytest.fail("it began to read"))
    for args in ((), ("--systems", "rfm,base")):
        done = call(config, "model", "evaluate", *args)
        assert (done.exit_code, "name one with --model, run `updater init`" in done.stderr) == (2, True), done.output


def test_features_are_those_of_the_rows_that_are_asked(config):
    settings = load_settings(config, environ={})
    context = open_writable(settings)
    [task] = [task for task in read_tasks(settings.evaluation.tasks) if task.name == "buys"]
    with events_of(settings) as events:
        rows = label_tables(events, [task], TEST)["buys"]
    nobody = rows.slice(0, 1).set_column(0, "user_id", pa.array(["nobody"]))
    with Scratch(settings) as scratch:
        publish_recency(context, Embedder(), [*TRAIN, *TEST], scratch)
        [text] = embedding_systems(context, {"text": Embedder()}, [*TRAIN, *TEST], scratch)
        features = np.concatenate(text.parts(task, rows), axis=1)
        backwards = np.concatenate(text.parts(task, rows.take(list(range(rows.num_rows))[::-1])), axis=1)
        unknown = np.concatenate(text.parts(task, pa.concat_tables([nobody, rows])), axis=1)

    known = read_table(Embedder().file(context, TEST[0]))
    vectors = dict(zip(known["user_id"].to_pylist(), known["q0"].to_pylist(), strict=True))
    since = dict(zip(known["user_id"].to_pylist(), known[DAYS_SINCE].to_pylist(), strict=True))
    for user, row in zip(rows["user_id"].to_pylist(), features, strict=True):
        assert row[:-1].tolist() == vectors[user]
        assert row[-1] == np.log1p(since[user])
    assert (backwards == features[::-1]).all()
    assert not unknown[0, :-1].any()
    assert unknown[0, -1] == np.log1p(settings.buffer.days)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--systems", "bse"), 2, "did you mean 'base'"),
        (("--model", "nowhere"), 2, "nowhere"),
        (("--version", "7"), 10, "7"),
        (("--version", "1", "--model", "x"), 2, "not both"),
        (("--systems", "live"), 2, "--model or --version"),
        (("--systems", "fitted"), 2, "train --build-data"),
        (("--split", "train"), 2, "train"),
    ],
)
def test_a_wrong_argument(config, args, code, said):
    done = call(config, "model", "evaluate", *args)
    assert done.exit_code == code
    assert said in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "code", "said"),
    [
        ("TASKS", "", 2, "evaluation.tasks"),
        ("TEST", "", 2, "evaluation.test"),
        ("TEST", "10 March", 2, "YYYY-MM-DD"),
        ("TRAIN", f"{TRAIN[0]},{TEST[0]}", 2, "move the anchors apart"),
        ("HORIZON_DAYS", "2", 2, "raise it"),
        ("TEST", "2024-03-20", 3, "has not landed"),
    ],
)
def test_a_wrong_config(config, monkeypatch, variable, value, code, said):
    monkeypatch.setenv(f"UPDATER_EVALUATION__{variable}", value)
    done = call(config, "model", "evaluate", "--systems", "rfm")
    assert done.exit_code == code
    assert said in done.stderr
