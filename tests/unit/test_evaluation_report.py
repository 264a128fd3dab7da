"""The report: its shape, what it decides, and that nothing in it can become markup."""

import dataclasses
import json
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from updater.errors import ConfigError, VerificationError
from updater.evaluation.figures import Points, draw
from updater.evaluation.html import render, with_ablations
from updater.evaluation.metrics import Predictions, auc_and_ks
from updater.evaluation.probe import Penalty
from updater.evaluation.report import (
    beside_gate,
    gate,
    make_ablations,
    make_paraphrases,
    make_report,
    raise_if_worse,
)
from updater.evaluation.scoring import Scores, part_rows
from updater.evaluation.systems.costs import Cost, total_cost
from updater.labels.split import Split, is_held_out
from updater.labels.tables import LABELS_SCHEMA
from updater.labels.tasks import Task

USERS = np.array([f"u{number}" for number in range(60)])
LABEL = np.arange(60) % 3 == 0
SPLIT = Split(train=(date(2024, 1, 1),), test=(date(2024, 3, 1),))
HOSTILE = "<script>alert(1)</script>"


def task(name, **changes):
    parameters = {"modality": "bill", "active_in": "bill"}
    return Task(**{"name": name, "domain": "risk", "kind": "occurs", "parameters": parameters, **changes})


def scored(noise, names, seed=0):
    """Scores that know the label but for so much noise."""
    rng = np.random.default_rng(seed)
    return Scores(
        Penalty(0.02), {name: Predictions(USERS, LABEL, LABEL + noise * rng.normal(size=60)) for name in names}
    )


def report(**noise):
    tasks = [task("a"), task("b", family="f"), task("c", family="f", unseen=True)]
    names = [one.name for one in tasks]
    zero_shot = {"c": scored(1.0, ["c"]).predictions["c"]}
    systems = {name: scored(level, names) for name, level in noise.items()}
    return make_report(tasks, systems, zero_shot, draws=50, seed=3)


def test_the_shape_of_the_report():
    made = report(tuned=0.5, base=0.6, rfm=0.9)

    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert set(made) == {
        *("mean", "tasks", "differences", "family", "zero_shot", "paraphrases", "ablations", "version", "seed"),
    }
    values = {f"{metric}{part}" for metric in ("auc", "ks") for part in ("", "_se", "_low", "_high")}
    held_out = {f"held_out_{name}" for name in values}
    assert set(made["mean"]) == {"tuned", "base", "rfm"}
    costs = {"cpu_ms_per_user", "bytes_per_user", "vectors_per_user"}
    assert set(made["mean"]["base"]) == values | held_out | {"inverse_penalty", "penalty_by_part"} | costs
    assert set(made["tasks"]) == {"a", "b", "c"}
    assert set(made["tasks"]["a"]["rfm"]) == values | {"rows", "base_rate"}
    assert set(made["differences"]) == {"tuned-base", "tuned-rfm", "base-rfm"}
    assert set(made["differences"]["base-rfm"]) == values
    assert {part: set(systems) for part, systems in made["family"]["f"].items()} == {
        "seen": {"tuned", "base", "rfm"},
        "unseen": {"tuned", "base", "rfm"},
    }
    assert set(made["zero_shot"]) == {"c"}
    assert (made["paraphrases"], made["ablations"], made["seed"]) == ({}, {}, 3)


def test_means_and_differences_agree_with_the_tasks():
    made = report(tuned=0.5, base=0.6, rfm=0.9)

    for system, values in made["mean"].items():
        tasks = [found[system]["auc"] for found in made["tasks"].values()]
        assert values["auc"] == pytest.approx(np.mean(tasks), abs=1e-5)
        assert values["auc_low"] <= values["auc"] <= values["auc_high"]
    difference = made["mean"]["base"]["auc"] - made["mean"]["rfm"]["auc"]
    assert made["differences"]["base-rfm"]["auc"] == pytest.approx(difference, abs=1e-5)


def test_every_pair_of_the_systems_that_are_compared_is_there_once():
    made = report(tuned=0.5, base=0.6, text=0.8, with_counts=0.4, rfm=0.9)

    pairs = [tuple(name.split("-")) for name in made["differences"]]
    assert ("with_counts", "tuned") in pairs and ("base", "rfm") in pairs and ("text", "rfm") not in pairs
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 4 + 3 + 2


def test_the_cost_of_a_system_is_in_the_report_and_on_the_page():
    systems = {name: scored(0.5, ["a"]) for name in ("base", "rfm")}
    systems["base"] = dataclasses.replace(systems["base"], cost=Cost(cpu_ms=1.25, num_bytes=35_328, vectors=69))
    made = make_report([task("a")], systems, {}, draws=20, seed=3)

    names = ("cpu_ms_per_user", "bytes_per_user", "vectors_per_user")
    assert [made["mean"]["base"][name] for name in names] == [1.25, 35_328, 69]
    assert [made["mean"]["rfm"][name] for name in names] == [None, None, None]
    page = render(made, [], [], "model", SPLIT, "test", None)
    assert "35,328" in page and "CPU ms" in page


def test_systems_of_the_caller_are_explained_in_the_callers_words_or_not_at_all():
    made = make_report([task("a")], {name: scored(0.5, ["a"]) for name in ("base", "other", "sasrec")}, {}, 20, 3)
    said = [f"<li>{name}: " for name in ("base", "sasrec", "other")]
    page = render(made, [], [], "model", SPLIT, "test", None)
    assert [line in page for line in said] == [True, True, False]
    assert "<li>other: somebody else&#39;s" in render(
        made, [], [], "model", SPLIT, "test", None, {"other": "somebody else's"}
    )


def test_a_page_of_baselines_judges_no_model_and_has_no_empty_table():
    made = report(rfm=0.5, recency=0.9)
    page = render(made, gate(made), [], "baselines", SPLIT, "test", None)
    assert "No model is among the systems" in page and "does not pass the gate" not in page
    assert made["differences"] == {} and "and there are none." in page and "<th>difference</th>" not in page


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    made = report(tuned=0.5, base=0.5)
    made["differences"]["tuned-base"]["auc"] = -0.000004
    page = render(made, [], [], "model", SPLIT, "test", None)
    assert "-0.0000" not in page and '<td>tuned − base</td><td class="n">0.0000</td>' in page


def test_concatenated_systems_cost_what_both_cost():
    counts, embedding = Cost(2.0, 800), Cost(3.0, 1024, 2)
    assert total_cost([embedding, counts]) == Cost(5.0, 1824, 2)
    assert total_cost([embedding, None]) is None


def test_paraphrases_are_compared_with_the_wording_of_the_same_tasks_in_pairs():
    base = scored(0.5, ["a", "b"])
    rounds = [[task("a", query="first?"), task("b", query=HOSTILE)], [task("b", query="third?")]]
    others = [scored(0.5, ["a", "b"]), scored(1.5, ["b"], seed=1)]
    found = make_paraphrases(rounds, base, others, draws=50, seed=3)

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["each"]["1"]["difference"]["auc"] == found["each"]["1"]["difference"]["auc_se"] == 0.0
    second = found["each"]["2"]
    plain = auc_and_ks(LABEL, base.predictions["b"].score)[0]
    assert second["tasks"] == 1 and second["difference"]["auc"] == pytest.approx(second["auc"] - plain, abs=2e-6)
    assert second["difference"]["auc_se"] > 0
    # Of three paraphrases two change nothing.
    assert found["difference"]["auc"] == pytest.approx(second["difference"]["auc"] / 3, abs=2e-6)
    assert {name: list(queries) for name, queries in found["tasks"].items()} == {
        "a": ["first?"],
        "b": [HOSTILE, "third?"],
    }
    assert found["tasks"]["b"]["third?"]["auc"] == second["auc"]
    page = render({**report(base=0.5), "paraphrases": found}, [], [], "model", SPLIT, "test", None)
    assert "third?" in page and HOSTILE not in page


def test_ablations_are_compared_with_their_references_in_pairs():
    systems = {name: scored(level, ["a", "b"]) for name, level in (("base", 0.5), ("less", 0.9), ("least", 1.5))}
    made = make_ablations(systems, {"base": "base", "less": "base", "least": "less"}, draws=50, seed=3)

    assert json.loads(json.dumps(made, allow_nan=False)) == made
    for name, values in made.items():
        difference = values["auc"] - made[values["reference"]]["auc"]
        assert values["difference"]["auc"] == pytest.approx(difference, abs=2e-6), name
    assert made["base"]["difference"]["auc"] == made["base"]["difference"]["auc_se"] == 0.0
    # Of the same users, so less uncertain than both are.
    assert 0 < made["less"]["difference"]["auc_se"] < made["less"]["auc_se"]


def test_ablations_are_added_to_a_page_and_replaced():
    made = report(tuned=0.5, base=0.6)
    page = render(made, [], [], "model", SPLIT, "test", None)
    systems = {name: scored(level, ["a"]) for name, level in (("base", 0.5), (HOSTILE, 0.9))}
    ablations = make_ablations(systems, {"base": "base", HOSTILE: "base"}, draws=20, seed=3)
    added = with_ablations(page, ablations)

    assert "No ablations were run." in page and "No ablations were run." not in added
    assert added.count("<svg") == page.count("<svg") + 1
    worse = f"{ablations[HOSTILE]['difference']['auc']:.4f}".replace("-", "−")
    assert HOSTILE not in added and worse in added
    assert with_ablations(added, {}) == page
    assert render({**made, "ablations": ablations}, [], [], "model", SPLIT, "test", None) == added


def test_a_part_without_a_class_is_null_and_no_nan():
    label = np.zeros(60, dtype=bool)
    only = {"a": Predictions(USERS, label, np.arange(60.0))}
    made = make_report([task("a")], {"base": Scores(Penalty(0.02), only)}, {}, draws=10, seed=0)

    assert made["mean"]["base"]["auc"] is None
    assert "NaN" not in json.dumps(made)


def difference(auc, se):
    return {"auc": auc, "auc_se": se}


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({}, []),
        ({"base-fitted": difference(0.019, 0.01)}, ["base is +0.0190 from that of fitted"]),
        ({"base-text": difference(-0.1, 0.01)}, ["base is -0.1000 from that of text"]),
        ({"tuned-base": difference(-0.021, 0.01)}, ["tuned is -0.0210 from that of base"]),
        ({"tuned-base": difference(-0.019, 0.01)}, []),
        ({"tuned-live": difference(-0.05, 0.01)}, ["tuned is -0.0500 from that of live"]),
        ({"base-text": {}}, ["base was not compared with text"]),
        ({"base-text": difference(None, None)}, ["base was not compared with text"]),
        ({"base-text": difference(0.0, 0.0), "tuned-base": difference(0.0, 0.0)}, ["base is +0.0000"]),
    ],
)
def test_the_gate(changed, reasons):
    good = {
        "base-fitted": difference(0.05, 0.01),
        "base-text": difference(0.05, 0.01),
        "tuned-base": difference(0.01, 0.01),
        "tuned-live": difference(0.0, 0.01),
    }
    found = gate({"mean": {"live": {}}, "differences": {**good, **changed}})

    assert len(found) == len(reasons)
    assert all(said in reason for said, reason in zip(reasons, found, strict=True))


def test_without_another_live_model_nothing_is_asked_of_it():
    good = {name: difference(0.05, 0.01) for name in ("base-fitted", "base-text", "tuned-base")}
    assert gate({"mean": {"base": {}}, "differences": good}) == []
    assert gate({"mean": {"live": {}}, "differences": good}) == ["tuned was not compared with live."]


def test_counts_per_category_are_shown_beside_the_gate_and_decide_nothing():
    good = {name: difference(0.05, 0.01) for name in ("base-fitted", "base-text", "tuned-base")}
    worse = {"tuned-rfm_categories": difference(-0.3, 0.01), "base-rfm_categories": difference(None, None)}
    report = {"mean": {}, "differences": {**good, **worse}}

    assert gate(report) == []
    [said] = beside_gate(report)
    assert "tuned is -0.3000 from that of rfm_categories, with a standard error of 0.0100" in said
    assert beside_gate({"mean": {}, "differences": good}) == []


def test_a_report_that_does_not_pass_is_an_error(tmp_path):
    file = tmp_path / "report.json"
    good = {name: difference(0.05, 0.01) for name in ("base-fitted", "base-text", "tuned-base")}
    file.write_text(json.dumps({"mean": {}, "differences": good}))
    raise_if_worse(str(file))
    file.write_text(json.dumps({"mean": {}, "differences": {**good, "base-text": difference(0.0, 0.01)}}))
    with pytest.raises(VerificationError, match=r"base is .* from that of text"):
        raise_if_worse(str(file))


def test_no_text_of_a_report_becomes_markup():
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    made = report(tuned=0.5, base=0.6)
    made["tasks"][HOSTILE] = made["tasks"].pop("a")
    made["family"][HOSTILE] = made["family"].pop("f")
    made["zero_shot"][HOSTILE] = made["zero_shot"].pop("c")
    made["differences"][HOSTILE] = made["differences"].pop("tuned-base")
    made["mean"][f"$x${HOSTILE}"] = made["mean"].pop("tuned")
    made["version"] = HOSTILE
    rng = np.random.default_rng(0)
    points = Points(HOSTILE, LABEL, {name: rng.normal(size=(60, 4)) for name in (HOSTILE, "base")})

    page = render(made, [HOSTILE], [HOSTILE], HOSTILE, SPLIT, HOSTILE, draw(points))

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")


def labels(anchor_labels):
    rows = [(user, day, label) for user, day, label in anchor_labels]
    return pa.table(
        {
            "user_id": [user for user, _, _ in rows],
            "anchor": [day for _, day, _ in rows],
            "event_timestamp": pa.array([None] * len(rows), pa.timestamp("us", "UTC")),
            "label": [label for _, _, label in rows],
        }
    ).cast(LABELS_SCHEMA)


def test_held_out_users_are_in_no_training_row_but_in_the_test():
    train, test = date(2024, 1, 1), date(2024, 3, 1)
    table = labels(
        [(user, day, bool(label)) for day in (train, test) for user, label in zip(USERS, LABEL, strict=True)]
    )

    rows = part_rows({"a": table}, (train,), (), (test,))["a"]

    held_out = is_held_out(USERS.tolist())
    assert 0 < held_out.sum() < 60
    assert set(rows.user[rows.train]) == set(USERS[~held_out])
    assert set(rows.user[rows.test]) == set(USERS)
    assert not (rows.train & rows.test).any() and not rows.validation.any()


def test_a_task_whose_labels_are_alike_is_named():
    train, test = date(2024, 1, 1), date(2024, 3, 1)
    table = labels(
        [
            (user, day, day == train and bool(label))
            for day in (train, test)
            for user, label in zip(USERS, LABEL, strict=True)
        ]
    )

    with pytest.raises(ConfigError, match="task 'a': all 60 labels of test are the same"):
        part_rows({"a": table}, (train,), (), (test,))
