"""Pre-training on made-up pairs: it learns, resumes after a kill, and is the same in one process and in two."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model_factories import QUERIES, make_batch, make_tokenizer
from tests.training_data import make_options, make_table, pretrain_together
from tests.training_data import make_paper_model as make_model
from updater.domain.declared.training import Training
from updater.errors import ConfigError
from updater.model.checkpoint import create_model, load_model
from updater.model.user_model import UserModel
from updater.training.paper.pretrain import Report, Trained, pretrain
from updater.training.paper.retrieval import top_answer_share
from updater.training.steps.checkpoints import remove_checkpoints
from updater.training.steps.lora import add_adapters, merge_adapters

pytestmark = pytest.mark.campaign

pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytest.importorskip("tensorboard")

Weights = dict[str, Tensor]


class Killed(Exception):
    """Stands for SIGKILL."""


def kill_after(step: int) -> Report:
    def report(done: int, _: dict[str, float]) -> None:
        if done == step:
            raise Killed

    return report


def weights(model: UserModel) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def run(model: UserModel, options: Training, directory: Path, report: Report | None = None) -> Trained:
    with_pairs = make_table(model, options)
    return pretrain(model, with_pairs, options, directory, "recipe", report=report)


def journal(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def pretrained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> UserModel:
    """A model over a directory with a small backbone of random weights."""
    source, directory = make_model(request.param), tmp_path_factory.mktemp("llm")
    source.backbone.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    return create_model(dataclasses.replace(source.config, backbone=str(directory)))


def copy(model: UserModel) -> UserModel:
    return create_model(model.config)


# In as many steps the demo's loss falls less.
@pytest.mark.parametrize(("variant", "most"), [("paper", 0.85), ("demo", 0.93)])
def test_losses_fall(tmp_path: Path, variant: str, most: float) -> None:
    model = make_model()
    options = make_options(steps=50, learning_rate=1e-2, mask_after=0.8, variant=variant, save_every=1000)
    table = make_table(model, options)
    reported: list[tuple[int, dict[str, float]]] = []
    trained = run(model, options, tmp_path, lambda step, losses: reported.append((step, dict(losses))))
    assert [step for step, _ in reported] == list(range(1, 51))
    for loss, share in (("contrastive", most), ("next_token", 0.7)):
        first, last = (np.mean([losses[loss] for _, losses in part]) for part in (reported[:5], reported[-5:]))
        assert last < share * first, (loss, first, last)
    assert (trained.steps, trained.contrastive, trained.next_token) == (
        50,
        reported[-1][1]["contrastive"],
        reported[-1][1]["next_token"],
    )
    # Some steps' worth of questions; by chance one in 32 would find its answer, or more, since answers coincide.
    assert 0.05 < top_answer_share(model, table, options) < 1
    # What serving needs: nothing frozen, nothing in training mode, and the fast path agrees with the plain one.
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    batch = make_batch(model.config)
    np.testing.assert_allclose(model.embed(batch, QUERIES), model(batch, QUERIES).detach().numpy(), atol=1e-5)
    lines = journal(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 51))
    assert lines[-1]["contrastive"] == pytest.approx(trained.contrastive, abs=1e-6)
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("killed", [1, 3, 5, 7])
def test_killed_and_run_again_it_ends_with_the_same_bytes(tmp_path: Path, killed: int) -> None:
    options = make_options()
    undisturbed = make_model()
    expected = run(undisturbed, options, tmp_path / "a")
    with pytest.raises(Killed):
        run(make_model(), options, tmp_path / "b", kill_after(killed))
    kept = sorted(path.name for path in (tmp_path / "b").glob("step-*"))
    assert kept == ([f"step-{killed // 3 * 3:06d}.safetensors"] if killed >= 3 else [])
    again = make_model()
    steps: list[int] = []
    assert run(again, options, tmp_path / "b", lambda step, _: steps.append(step)) == expected
    assert steps == list(range(killed // 3 * 3 + 1, 9))
    assert same(weights(again), weights(undisturbed))
    assert not same(weights(again), weights(make_model()))
    # The last one stays until the model is on disk.
    assert [path.name for path in sorted((tmp_path / "b").glob("step-*"))] == ["step-000006.safetensors"]
    remove_checkpoints(tmp_path / "b")
    assert not list((tmp_path / "b").glob("step-*"))


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    options, model = make_options(), make_model()
    with pytest.raises(Killed):
        run(model, options, tmp_path, kill_after(4))
    with pytest.raises(ConfigError, match="train anew"):
        pretrain(make_model(), make_table(model, options), options, tmp_path, "another")
    assert len(list(tmp_path.glob("step-*"))) == 1


def test_the_seed_decides_and_nothing_around_does(tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        model = make_model()
        run(model, make_options(steps=3, seed=seed), tmp_path / str(number))
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_mask_waits(tmp_path: Path) -> None:
    found = []
    for number, mask_after in enumerate((0.0, 0.5, 1.0)):
        losses: list[float] = []
        # Far below every cosine, the margin masks all negatives: without them the loss is 0.
        options = make_options(steps=4, mask_after=mask_after, margin=-3.0)
        run(
            make_model(), options, tmp_path / str(number), lambda _, each, seen=losses: seen.append(each["contrastive"])
        )
        found.append([loss == 0.0 for loss in losses])
    assert found == [[True] * 4, [False, False, True, True], [False] * 4]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    options = make_options(steps=3)
    alone, together = (load_model(pretrain_together(tmp_path / str(count), count, options)) for count in (1, 2))
    first, batch = make_model(), make_batch(alone.config)
    # Rates of 3e-3; where a gradient is nothing but rounding, AdamW makes a little of it.
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, rtol=0.0, atol=1e-4, msg=name)
    np.testing.assert_allclose(together.embed(batch, QUERIES), alone.embed(batch, QUERIES), atol=1e-5)
    assert np.abs(first.embed(batch, QUERIES) - alone.embed(batch, QUERIES)).max() > 1e-2
    lines = [journal(tmp_path / str(count) / "run") for count in (1, 2)]
    for one, two in zip(*lines, strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_adapters_leave_the_backbone_alone_and_are_merged(tmp_path: Path, pretrained: UserModel) -> None:
    first, model = weights(pretrained), copy(pretrained)
    options = make_options(steps=4, lora_dropout=0.1)
    held: Weights = {}

    def look(step: int, _: dict[str, float]) -> None:
        if step == options.steps:
            held.update(weights(model))

    run(model, options, tmp_path, look)
    # Before the merge: all of the backbone's own weights are there, as they were.
    own = {name.replace(".base_layer", ""): value for name, value in held.items() if "lora_" not in name}
    assert own.keys() == first.keys() and len(held) > len(own)
    for name, value in own.items():
        if name.startswith("backbone."):
            assert torch.equal(value, first[name]), name
    assert not torch.equal(own["head.up.weight"], first["head.up.weight"])
    # After it: no trace of adapters, and projections that have changed.
    after = weights(model)
    assert after.keys() == first.keys()
    moved = {name.split(".")[-2] for name in after if name.startswith("backbone.") and changed(after, first, name)}
    assert moved == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def changed(one: Weights, other: Weights, name: str) -> bool:
    return not torch.equal(one[name], other[name])


def test_merged_weights_compute_what_adapted_ones_did(pretrained: UserModel) -> None:
    model, batch = copy(pretrained), make_batch(pretrained.config)
    add_adapters(model, make_options())
    randomize(parameter for name, parameter in model.named_parameters() if "lora_" in name)
    model.eval()
    with torch.no_grad():
        adapted = model(batch, QUERIES)
        merge_adapters(model)
        merged = model(batch, QUERIES)
        plain = pretrained(batch, QUERIES)
    torch.testing.assert_close(merged, adapted, rtol=0.0, atol=1e-5)
    assert (merged - plain).abs().max() > 1e-2
    np.testing.assert_allclose(model.embed(batch, QUERIES), merged.numpy(), atol=1e-5)


def randomize(parameters: Iterable[torch.nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(std=0.2, generator=generator)


def test_adapters_too_go_on_after_a_kill(tmp_path: Path, pretrained: UserModel) -> None:
    options = make_options(steps=5, lora_dropout=0.3)
    undisturbed, again = copy(pretrained), copy(pretrained)
    run(undisturbed, options, tmp_path / "a")
    with pytest.raises(Killed):
        run(copy(pretrained), options, tmp_path / "b", kill_after(4))
    run(again, options, tmp_path / "b")
    assert same(weights(again), weights(undisturbed))
