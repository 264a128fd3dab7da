"""Training on dense answers: the loss, what a step asks, two stages, kills, and the weights that are kept."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.dense_training import (
    ANCHORS,
    EMBEDDING_DIM,
    QUESTIONS,
    TEXT_DIM,
    VALID,
    VALUES,
    StandIn,
    make_answers,
    make_options,
)
from updater.domain.declared.training import Training
from updater.errors import ConfigError
from updater.training.dense.labels.outcomes import ANSWERS
from updater.training.dense.labels.table import KNOWN, QUANTILES
from updater.training.dense.layers import silence_layers
from updater.training.dense.loop import Report, Trained, remove_stages, stages, train_dense
from updater.training.dense.loss import DenseLoss, make_loss
from updater.training.dense.steps import make_step, questions_of_step
from updater.training.steps.distributed import Rank
from updater.training.steps.schedule import Schedule

pytest.importorskip("tensorboard")

TABLE = make_answers()


def run(
    directory: Path, options: Training | None = None, report: Report | None = None, **changes: Any
) -> tuple[StandIn, Trained]:
    model: Any = StandIn(**changes)
    return model, train_dense(model, TABLE, options or make_options(), directory, "recipe", report=report)


def same(one: StandIn, other: StandIn) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == again and torch.equal(a, b) for (name, a), (again, b) in pairs)


def test_answers_and_priors_are_those_of_the_training_profiles() -> None:
    assert TABLE.questions == tuple(QUESTIONS) and TABLE.num_counted == len(VALUES)
    reported = np.concatenate([TABLE.answers[anchor] for anchor in ANCHORS])
    for question in range(len(QUESTIONS)):
        bits = reported[:, question]
        known = bits & KNOWN > 0
        for k in range(ANSWERS):
            yes = int((bits[known] >> k & 1).sum())
            expected = np.log((yes + 0.5) / (known.sum() - yes + 0.5))
            assert TABLE.priors_QK[question, k] == pytest.approx(expected, rel=1e-5)
    anchor = ANCHORS[1]
    rows = [row for day, row in TABLE.train if day == anchor]
    bits = TABLE.answers[anchor][rows, 0]
    share = 1 / (1 + np.exp(-TABLE.priors_QK[0, 0]))
    yes, no = (bits & 1).sum() + 50 * share, len(rows) - (bits & 1).sum() + 50 * (1 - share)
    assert TABLE.priors(anchor)[0, 0] == pytest.approx(np.log(yes / no), rel=1e-4)
    np.testing.assert_array_equal(TABLE.priors(VALID), TABLE.priors_QK)
    # Of a measure without ties a share of 1 - quantile lies above each quantile.
    shares = [(reported[:, -1] >> k & 1).mean() for k in range(ANSWERS)]
    np.testing.assert_allclose(shares, 1 - np.array(QUANTILES), atol=0.01)
    unknown = TABLE.answers[ANCHORS[0]][:, len(VALUES)] & KNOWN == 0
    assert unknown.sum() == 7 and not (TABLE.answers[ANCHORS[0]][unknown, len(VALUES)]).any()
    assert {anchor for anchor, _ in TABLE.train} == {*ANCHORS} and {anchor for anchor, _ in TABLE.valid} == {VALID}


def test_the_loss_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    b, s, k, t, e = 3, 4, 5, 7, 6
    loss = DenseLoss(t, e, k)
    embeddings, vectors, priors = torch.randn(b, s, e), torch.randn(s, t), torch.randn(s, k)
    answers, known = torch.randint(0, 2, (b, s, k)).float(), torch.rand(b, s) > 0.3
    own, others, count = loss(embeddings, vectors, priors, answers, known)

    def entropy(logit: torch.Tensor, answer: torch.Tensor) -> float:
        yes = torch.sigmoid(logit.double())
        return float(-(answer * yes.log() + (1 - answer) * (1 - yes).log()).detach())

    expected_own = expected_others = 0.0
    for user in range(b):
        for q in range(s):
            if not known[user, q]:
                continue
            logits = loss.own.answer(embeddings[user, q]) + loss.own.question(vectors[q]) + priors[q]
            expected_own += sum(entropy(logits[i], answers[user, q, i]) for i in range(k)) / k
            for other in range(s):
                logit = 0.1 * embeddings[user, other] @ loss.cross(vectors[q]) + priors[q, 0]
                expected_others += entropy(logit, answers[user, q, 0]) / s
    assert float(own.detach()) == pytest.approx(expected_own, rel=1e-5)
    assert float(others.detach()) == pytest.approx(expected_others, rel=1e-5)
    assert float(count) == float(known.sum())


def test_what_is_asked_follows_from_seed_stage_and_step() -> None:
    options = make_options()
    asked = [questions_of_step(TABLE, options, 0, step) for step in range(20)]
    for each in asked:
        assert len(each) == 4 and (each < TABLE.num_counted).sum() == 2 and len(set(each.tolist())) == 4
    assert len({tuple(each) for each in asked}) > 5
    np.testing.assert_array_equal(asked[3], questions_of_step(TABLE, options, 0, 3))
    assert any((a != questions_of_step(TABLE, options, 1, step)).any() for step, a in enumerate(asked))
    # The other kind makes up for what there is too little of.
    every = questions_of_step(TABLE, make_options(questions_per_step=24, counted_questions=17), 0, 0)
    np.testing.assert_array_equal(every, np.arange(len(QUESTIONS)))
    some = questions_of_step(TABLE, make_options(questions_per_step=5, counted_questions=0), 0, 0)
    assert (some < TABLE.num_counted).sum() == 2


def test_a_question_is_asked_in_all_of_its_wordings() -> None:
    options = make_options()
    asked: dict[int, set[str]] = {}
    for step in range(200):
        made = make_step(TABLE, options, 8, 0, step, Rank())
        assert made.queries == make_step(TABLE, options, 8, 0, step, Rank(1, 2)).queries
        for number, query in zip(made.asked_S.tolist(), made.queries, strict=True):
            asked.setdefault(number, set()).add(query)
    assert asked == {number: set(question.texts) for number, question in enumerate(TABLE.questions)}
    every = [text for question in QUESTIONS for text in question.texts]
    assert "Will this user buy milk in the next four weeks?" in every and not [text for text in every if "{" in text]
    assert len(set(every)) == len(every) > 3 * len(QUESTIONS)


def test_processes_share_the_users_of_a_step() -> None:
    options = make_options()
    whole = make_step(TABLE, options, 8, 0, 3, Rank())
    parts = [make_step(TABLE, options, 8, 0, 3, Rank(index, 2)) for index in range(2)]
    assert torch.equal(torch.cat([part.batch for part in parts]), whole.batch)
    assert torch.equal(torch.cat([part.answers_BSK for part in parts]), whole.answers_BSK)
    assert all((part.asked_S == whole.asked_S).all() for part in parts)


def test_the_learning_rate_rises_and_falls() -> None:
    schedule = Schedule(steps=100, peak=2.0, warmup_steps=10)
    rates = [schedule.rate(step) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11))
    assert rates[10] == 2.0 and sorted(rates[10:], reverse=True) == rates[10:]
    assert rates[55] == pytest.approx(1.0) and 0 < rates[-1] < 0.01
    assert Schedule(steps=2, peak=1.0, warmup_steps=10).rate(1) == 1.0


def test_it_learns_in_two_stages(tmp_path: Path) -> None:
    reported: list[tuple[int, dict[str, float]]] = []
    options = make_options(steps=60, layers_steps=30, validate_every=10)
    model, trained = run(tmp_path, options, lambda step, losses: reported.append((step, dict(losses))))
    assert [step for step, _ in reported] == list(range(1, 91)) and trained.steps == 90
    valid = {step: losses["valid"] for step, losses in reported if "valid" in losses}
    assert sorted(valid) == list(range(10, 91, 10))
    assert trained.valid_loss is not None and trained.valid_loss < 0.9 * valid[10]
    assert trained.valid_loss <= min(loss for step, loss in valid.items() if step > 60)
    assert trained.loss == reported[-1][1]["answers"]
    assert not model.training and all(parameter.requires_grad for parameter in model.parameters())


def test_layers_begin_where_the_stage_before_them_ended(tmp_path: Path) -> None:
    model, _ = run(tmp_path / "a", make_options(layers_steps=0))
    batch = TABLE.profiles[VALID].batch(np.arange(5))
    texts = [question.text for question in QUESTIONS]
    torch.testing.assert_close(model.train_forward(batch, texts), model.train_forward(batch, texts, layers=False))
    reported: list[float] = []
    # No rate: the second stage cannot leave its beginning.
    options = make_options(layers_learning_rate=0.0)
    again, trained = run(tmp_path / "b", options, lambda _, losses: reported.append(losses.get("valid", math.inf)))
    assert trained.valid_loss == pytest.approx(min(reported[:6]), rel=1e-6)
    torch.testing.assert_close(again.train_forward(batch, texts), again.train_forward(batch, texts, layers=False))


def test_a_model_without_a_backbone_has_one_stage() -> None:
    assert [stage.layers for stage in stages(make_options(), True)] == [False, True]
    assert [stage.layers for stage in stages(make_options(), False)] == [False]
    assert [stage.is_last for stage in stages(make_options(layers_steps=0), True)] == [True]


def test_the_weights_that_did_best_are_kept(tmp_path: Path) -> None:
    """A rate so large that training only harms: the first weights of all are the best."""
    options = make_options(layers_steps=0, learning_rate=1.0, steps=20)
    model, trained = run(tmp_path / "a", options)
    expected: Any = StandIn()
    silence_layers(expected)
    # Of what is learned beside the model, the maps to answers stay with it.
    loss = make_loss(TEXT_DIM, EMBEDDING_DIM, ANSWERS, options.seed)
    expected.own_answers, expected.answers = loss.own, loss.cross
    assert trained.valid_step == 0 and same(model, expected)
    without = make_answers(valid=False)
    model_of_last: Any = StandIn()
    last = train_dense(model_of_last, without, options, tmp_path / "b", "recipe")
    assert last.valid_loss is None and last.valid_step == 20 and not same(model_of_last, expected)


def test_the_map_that_is_kept_gives_the_answers_that_training_ended_with(tmp_path: Path) -> None:
    trained: Any
    trained, outcome = run(tmp_path, make_options(validate_every=3))
    assert outcome.valid_step > 0
    rows, asked = np.array([row for _, row in TABLE.valid]), np.arange(len(QUESTIONS))
    # The wordings of the validation.
    texts = [question.texts[n % len(question.texts)] for n, question in enumerate(QUESTIONS)]
    readings = trained.train_forward(TABLE.profiles[VALID].batch(rows), texts)
    logits = trained.own_answers(readings, trained.question_vectors(texts)) + torch.from_numpy(TABLE.priors_QK)
    answers, known = map(torch.from_numpy, TABLE.targets(VALID, rows, asked))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, answers, reduction="none").mean(dim=2)
    assert float(entropy[known].mean().detach()) == pytest.approx(outcome.valid_loss, rel=1e-5)


class Killed(Exception):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("killed", [1, 3, 4, 6, 7, 9, 10])
def test_killed_and_run_again_it_ends_with_the_same_bytes(tmp_path: Path, killed: int) -> None:
    def report(done: int, _: dict[str, float]) -> None:
        if done == killed:
            raise Killed

    expected, trained = run(tmp_path / "a")
    with pytest.raises(Killed):
        run(tmp_path / "b", report=report)
    again, reported = run(tmp_path / "b")
    assert same(again, expected) and reported == trained
    remove_stages(tmp_path / "b")
    assert not list((tmp_path / "b").glob("*/*.safetensors"))


def test_the_seed_decides_and_nothing_around_does(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        found.append(run(tmp_path / str(number), make_options(seed=seed))[0])
    assert same(found[0], found[1]) and not same(found[0], found[2])


def test_checkpoints_of_another_recipe_are_refused(tmp_path: Path) -> None:
    def report(done: int, _: dict[str, float]) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, report=report)
    model: Any = StandIn()
    with pytest.raises(ConfigError, match="train anew"):
        train_dense(model, TABLE, make_options(), tmp_path, "another")


def test_more_counted_questions_than_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than training"):
        make_options(counted_questions=5)
    with pytest.raises(ConfigError, match="layers_users_per_step is 3"):
        make_options(layers_users_per_step=3, processes=2)
