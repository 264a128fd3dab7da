"""Soft prompts: the model stays as it is, tokens, shifts and centres learn, and serving computes what tuning did."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model_factories import QUERIES, make_model
from tests.training_data import ANCHORS, make_profiles
from updater.domain.declared.training import Tuning
from updater.errors import ConfigError
from updater.model.checkpoint import load_model, save_model
from updater.model.user_model import UserModel
from updater.training.tuning import labelled_users, prompt_tuning
from updater.training.tuning.labelled_users import LabelledUsers, Labels
from updater.training.tuning.prompt_tuning import PromptTuner

USERS = sorted(f"u{number}" for number in range(24))
PROFILES = {anchor: make_profiles(anchor, USERS) for anchor in ANCHORS}
OPTIONS = Tuning(tokens=3, steps=32, users_per_step=16, learning_rate=0.02)
SCENARIO = "lapse"
LEARNED = ("soft_prompts", "question_shifts", "prototypes")


@pytest.fixture(autouse=True)
def shrink_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """These labels are few, and what is learned from them is to show."""
    monkeypatch.setattr(prompt_tuning, "SHRINK", 0.01)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned is kept, whatever it is worth."""
    monkeypatch.setattr(PromptTuner, "_is_better", lambda *_: True)


def make_anchored(backbone: str = "tiny") -> UserModel:
    """A model whose questions count, fitted to the profiles."""
    model = make_model(layout="anchored", backbone=backbone)
    model.fit([known.batch(np.arange(len(USERS))) for known in PROFILES.values()], QUERIES)
    return model


def make_classes() -> np.ndarray:
    """Which side of two directions in which embeddings vary most each is on: the same side of both, or not.
    No centres separate them as well as a prompt can.
    """
    model = make_anchored()
    everyone = np.arange(len(USERS))
    embeddings = np.concatenate([model.embed(known.batch(everyone), QUERIES[:1])[:, 0] for known in PROFILES.values()])
    centred = embeddings - embeddings.mean(axis=0)
    sides = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T > 0
    return (sides[:, 0] == sides[:, 1]).astype(np.int64)


CLASSES = make_classes()
KEY_WIDTH = make_anchored().layout.counts.question_keys.linear.out_features


def make_labels(questions: tuple[str, ...] = (QUERIES[0],)) -> Labels:
    """Everybody on both days, with classes that can be distinguished."""
    places = [(anchor, row) for anchor in ANCHORS for row in range(len(USERS))]
    return Labels(
        anchors=[anchor for anchor, _ in places],
        rows=np.array([row for _, row in places]),
        questions=[questions[number % len(questions)] for number in range(len(places))],
        classes=CLASSES,
    )


def state(model: UserModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def scores(model: UserModel, labels: Labels) -> np.ndarray:
    """Probability of class 1, as serving's embeddings and the learned centres give it."""
    found = []
    for anchor, row, question in zip(labels.anchors, labels.rows, labels.questions, strict=True):
        embedding = model.embed(PROFILES[anchor].batch(np.array([row])), [question], [SCENARIO])[0, 0]
        logits = torch.from_numpy(embedding) @ model.prototypes[SCENARIO].T / OPTIONS.temperature
        found.append(logits.softmax(0)[1].item())
    return np.array(found)


def test_only_tokens_shift_and_centres_are_learned_and_the_loss_falls(kept: None) -> None:
    model = make_anchored()
    before, labels = state(model), make_labels()
    losses: list[float] = []
    last = PromptTuner(model, PROFILES, OPTIONS).tune(SCENARIO, labels, report=lambda _, loss: losses.append(loss))
    after = state(model)
    learned = {name: value.shape for name, value in after.items() if name not in before}
    assert learned == {
        f"soft_prompts.{SCENARIO}": (OPTIONS.tokens, 32),
        f"question_shifts.{SCENARIO}": (KEY_WIDTH,),
        f"prototypes.{SCENARIO}": (2, model.config.embedding_dim),
    }
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert len(losses) == OPTIONS.steps
    assert last.loss == pytest.approx(np.mean(losses[-3:])) and last.kept
    # Chance is 0.69; the centres begin where they separate classes best.
    still = PromptTuner(make_anchored(), PROFILES, dataclasses.replace(OPTIONS, learning_rate=0.0)).tune(
        SCENARIO, labels
    )
    assert last.loss < 0.95 * still.loss
    assert np.mean((scores(model, labels) > 0.5) == labels.classes) > 0.6


@pytest.mark.parametrize("backbone", ["tiny", "none"])
def test_what_tuning_makes_lies_where_the_model_does(backbone: str) -> None:
    model, options = make_anchored(backbone), dataclasses.replace(OPTIONS, steps=1)
    # What names no device is made on one that computes with no other.
    with torch.device("meta"):
        PromptTuner(model, PROFILES, options).tune(SCENARIO, make_labels())
    assert model.prototypes[SCENARIO].device.type == "cpu"


@pytest.mark.parametrize("backbone", ["tiny", "none"])
def test_tuning_sees_what_serving_computes(backbone: str) -> None:
    model, labels = make_anchored(backbone), make_labels(tuple(QUERIES))
    generator = torch.Generator().manual_seed(0)
    prompt, shift = torch.randn(OPTIONS.tokens, 32, generator=generator), torch.rand(KEY_WIDTH, generator=generator)
    model.soft_prompts[SCENARIO] = torch.nn.Parameter(prompt, requires_grad=False)
    model.question_shifts[SCENARIO] = torch.nn.Parameter(shift, requires_grad=False)
    users = LabelledUsers(model.requires_grad_(False), PROFILES)
    chosen = np.array([0, 30, 7, 7, 47])
    # The second time, all prefixes are kept ones.
    for _ in range(2):
        got = users.embed(prompt, shift, labels, chosen).detach().numpy()
        plain = users.embed(None, None, labels, chosen).detach().numpy()
        for place, embedding, before in zip(chosen, got, plain, strict=True):
            batch = PROFILES[labels.anchors[place]].batch(labels.rows[[place]])
            question = labels.questions[place]
            np.testing.assert_allclose(embedding, model.embed(batch, [question], [SCENARIO])[0, 0], atol=1e-5)
            np.testing.assert_allclose(before, model.embed(batch, [question])[0, 0], atol=1e-5)
            assert np.abs(embedding - before).max() > 1e-3


def test_what_does_no_better_for_other_users_is_left_out() -> None:
    """Classes that nothing predicts."""
    labels = make_labels()
    chance = np.random.default_rng(3).integers(0, 2, len(labels.rows))
    for few in (0, 20):
        model, plain = make_anchored(), make_anchored()
        options = dataclasses.replace(OPTIONS, labels=few)
        guessed = dataclasses.replace(labels, classes=chance)
        assert not PromptTuner(model, PROFILES, options).tune(SCENARIO, guessed).kept
        assert not model.soft_prompts and not model.question_shifts and set(model.prototypes) == {SCENARIO}
        batch = PROFILES[ANCHORS[0]].batch(np.arange(5))
        np.testing.assert_array_equal(model.embed(batch, QUERIES, [SCENARIO]), plain.embed(batch, QUERIES))


def test_of_few_labels_little_is_learned(monkeypatch: pytest.MonkeyPatch, kept: None) -> None:
    moved = []
    for pull in (0.0, 10.0, 1e6):
        monkeypatch.setattr(prompt_tuning, "SHRINK", pull)
        model = make_anchored()
        PromptTuner(model, PROFILES, OPTIONS).tune(SCENARIO, make_labels())
        moved.append(float(model.question_shifts[SCENARIO].abs().max()))
    assert moved[0] > 2 * moved[1] and moved[1] > 2 * moved[2]


def test_labels_are_chosen_by_the_seed() -> None:
    labels, seen = make_labels(), []
    for seed in (0, 0, 1):
        model = make_anchored()
        PromptTuner(model, PROFILES, dataclasses.replace(OPTIONS, labels=24, steps=3)).tune(SCENARIO, labels, seed)
        seen.append(model.prototypes[SCENARIO])
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


def test_without_room_for_prefixes_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch, kept: None) -> None:
    results = []
    for most in (labelled_users.MOST_BYTES, 0):
        monkeypatch.setattr(labelled_users, "MOST_BYTES", most)
        model = make_anchored()
        PromptTuner(model, PROFILES, Tuning(tokens=2, steps=3, users_per_step=8)).tune(SCENARIO, make_labels())
        results.append(model)
    for kind in LEARNED:
        torch.testing.assert_close(*(getattr(model, kind)[SCENARIO] for model in results), rtol=0.0, atol=1e-6)


def test_scenarios_do_not_touch_each_other_and_tuning_anew_forgets(kept: None) -> None:
    options = Tuning(tokens=2, steps=3, users_per_step=8)
    together, alone = make_anchored(), make_anchored()
    tuner = PromptTuner(together, PROFILES, options)
    tuner.tune("other", make_labels((QUERIES[1],)), seed=5)
    tuner.tune(SCENARIO, make_labels())
    tuner.tune(SCENARIO, make_labels())
    PromptTuner(alone, PROFILES, options).tune(SCENARIO, make_labels())
    assert torch.equal(together.soft_prompts[SCENARIO], alone.soft_prompts[SCENARIO])
    assert torch.equal(together.prototypes[SCENARIO], alone.prototypes[SCENARIO])
    assert not torch.equal(together.soft_prompts["other"], together.soft_prompts[SCENARIO])


def test_the_first_prompt_is_the_question_s_own_words(kept: None) -> None:
    model = make_anchored()
    # A rate of nothing leaves the first values.
    options = Tuning(tokens=5, steps=1, users_per_step=8, learning_rate=0.0)
    PromptTuner(model, PROFILES, options).tune(SCENARIO, make_labels(("value next",)))
    ids = model.token_ids("value next value next value")
    assert torch.equal(model.soft_prompts[SCENARIO], model.embed_ids(ids))


def test_labels_of_one_class_are_refused() -> None:
    model, labels = make_anchored(), make_labels()
    alike = Labels(labels.anchors, labels.rows, labels.questions, np.ones_like(labels.classes))
    with pytest.raises(ConfigError, match=r"'lapse' are all alike"):
        PromptTuner(model, PROFILES, OPTIONS).tune(SCENARIO, alike)
    assert not model.soft_prompts and not model.prototypes


def test_prompts_are_saved_with_the_model(tmp_path: Path, kept: None) -> None:
    model = make_anchored()
    PromptTuner(model, PROFILES, Tuning(tokens=2, steps=3, users_per_step=8)).tune(SCENARIO, make_labels())
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    loaded.questions = model.questions
    for kind in LEARNED:
        assert torch.equal(getattr(loaded, kind)[SCENARIO], getattr(model, kind)[SCENARIO])
    batch = PROFILES[ANCHORS[0]].batch(np.arange(5))
    np.testing.assert_array_equal(loaded.embed(batch, QUERIES, [SCENARIO]), model.embed(batch, QUERIES, [SCENARIO]))
