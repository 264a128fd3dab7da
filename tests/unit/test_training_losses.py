"""The losses against plain loops, at their limits, and their gradients where similarities are extreme."""

import math

import pytest
import torch
from torch import Tensor

from updater.training.paper.losses import contrastive_loss, next_token_loss_sum, prototype_loss


def pairs(seed: int, num: int = 7, width: int = 5, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(num, width, generator=generator, dtype=torch.float64)
    return anchors, anchors + noise * torch.randn(num, width, generator=generator, dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def slow(anchors: Tensor, answers: Tensor, variant: str, temperature: float, margin: float) -> tuple[float, int]:
    """The loss as its sources print it, term by term, and how many terms were masked."""
    total, masked = 0.0, 0
    for i in range(len(anchors)):
        positive = cosine(anchors[i], answers[i])
        z = math.exp(positive / temperature)
        for j in range(len(anchors)):
            if j == i:
                continue
            uv, uu = cosine(anchors[i], answers[j]), cosine(anchors[i], anchors[j])
            if variant == "paper":
                out = uu > positive + margin or uv > positive + margin
                terms = [(uv, out), (uu, out), (cosine(answers[i], answers[j]), out)]
            else:
                terms = [(s, s > positive + margin) for s in (uv, uu, cosine(answers[i], anchors[j]))]
            masked += sum(out for _, out in terms)
            z += sum(math.exp(s / temperature) for s, out in terms if not out)
        total -= math.log(math.exp(positive / temperature) / z)
    return total / len(anchors), masked


@pytest.mark.parametrize("variant", ["paper", "demo"])
@pytest.mark.parametrize("margin", [-0.2, 0.1, 0.4])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_contrastive_loss_is_the_printed_sum(variant, margin, temperature):
    for seed in range(5):
        anchors, answers = pairs(seed, noise=2.0)
        expected, masked = slow(anchors, answers, variant, temperature, margin)
        assert 0 < masked < 3 * 7 * 6
        got = contrastive_loss(anchors, answers, variant=variant, temperature=temperature, margin=margin)
        assert got.item() == pytest.approx(expected, rel=1e-9)


def test_the_defaults_are_the_paper_s_terms_with_the_demo_s_constants():
    anchors, answers = pairs(3)
    assert contrastive_loss(anchors, answers).item() == pytest.approx(slow(anchors, answers, "paper", 0.07, 0.1)[0])


@pytest.mark.parametrize("variant", ["paper", "demo"])
def test_an_infinite_margin_masks_nothing(variant):
    anchors, answers = pairs(1, noise=2.0)
    expected, masked = slow(anchors, answers, variant, 0.5, math.inf)
    assert masked == 0
    got = contrastive_loss(anchors, answers, variant=variant, temperature=0.5, margin=math.inf)
    assert got.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", ["paper", "demo"])
@pytest.mark.parametrize("margin", [-5.0, -math.inf])
def test_a_very_negative_margin_leaves_only_the_positive(variant, margin):
    anchors, answers = (x.requires_grad_() for x in pairs(2))
    loss = contrastive_loss(anchors, answers, variant=variant, margin=margin)
    loss.backward()
    assert loss.item() == 0.0
    assert not anchors.grad.any() and not answers.grad.any()


def test_a_single_pair_has_no_loss():
    assert contrastive_loss(*pairs(0, num=1)).item() == 0.0


@pytest.mark.parametrize("variant", ["paper", "demo"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_where_similarities_are_extreme(variant, scale, sign):
    same = torch.ones(4, 3) * scale
    anchors, answers = same.clone().requires_grad_(), (sign * same).requires_grad_()
    # exp(1 / 0.001) is infinite in every precision.
    loss = contrastive_loss(anchors, answers, variant=variant, temperature=0.001, margin=math.inf)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(anchors.grad).all() and torch.isfinite(answers.grad).all()


@pytest.mark.parametrize("variant", ["paper", "demo"])
def test_contrastive_gradients(variant):
    anchors, answers = (x.requires_grad_() for x in pairs(4, num=4))

    def loss(u, v):
        return contrastive_loss(u, v, variant=variant, temperature=0.5)

    assert torch.autograd.gradcheck(loss, (anchors, answers))


def test_half_precision_is_widened():
    anchors, answers = (x.bfloat16() for x in pairs(5))
    got = contrastive_loss(anchors, answers)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(contrastive_loss(anchors.float(), answers.float()).item())


def test_wrong_arguments_are_refused():
    anchors, answers = pairs(0)
    with pytest.raises(ValueError, match="must be"):
        contrastive_loss(anchors, answers[:-1])
    with pytest.raises(ValueError, match="positive"):
        contrastive_loss(anchors, answers, temperature=0.0)
    with pytest.raises(ValueError, match="'paper' or 'demo'"):
        contrastive_loss(anchors, answers, variant="other")


@pytest.mark.parametrize("variant", ["paper", "demo"])
def test_equal_answers_are_no_negatives_of_each_other(variant):
    anchors, answers = pairs(6)
    answers[3] = answers[1]
    same = torch.zeros(7, 7, dtype=torch.bool)
    same[1, 3] = same[3, 1] = True
    got = contrastive_loss(anchors, answers, variant=variant, margin=math.inf, same_BB=same | torch.eye(7).bool())
    # Without the other one, each of the two has just the negatives that it has here.
    total = 0.0
    for row in range(7):
        kept = [j for j in range(7) if j == row or not same[row, j]]
        total += one_row(anchors[kept], answers[kept], kept.index(row), variant)
    assert got.item() == pytest.approx(total / 7, rel=1e-9)
    assert got.item() < contrastive_loss(anchors, answers, variant=variant, margin=math.inf).item()


def one_row(anchors: Tensor, answers: Tensor, row: int, variant: str) -> float:
    """The printed loss of one anchor at the default temperature, with nothing masked."""
    positive = math.exp(cosine(anchors[row], answers[row]) / 0.07)
    z = positive
    for j in set(range(len(anchors))) - {row}:
        third = answers[j] if variant == "paper" else anchors[j]
        terms = cosine(anchors[row], answers[j]), cosine(anchors[row], anchors[j]), cosine(answers[row], third)
        z += sum(math.exp(term / 0.07) for term in terms)
    return -math.log(positive / z)


def test_where_all_answers_are_the_same_nothing_is_left():
    anchors, answers = pairs(7)
    loss = contrastive_loss(anchors, answers, margin=math.inf, same_BB=torch.ones(7, 7, dtype=torch.bool))
    assert loss.item() == 0.0


def test_next_token_loss_is_the_printed_sum():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 11, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 11, (7,), generator=generator)
    terms = [
        -math.log(math.exp(row[target]) / sum(math.exp(x) for x in row))
        for row, target in zip(logits, targets, strict=True)
    ]
    assert next_token_loss_sum(logits, targets).item() == pytest.approx(sum(terms))
    assert next_token_loss_sum(logits.bfloat16(), targets).dtype == torch.float32


def test_prototype_loss_is_the_printed_sum():
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    prototypes = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    classes = torch.tensor([0, 2, 1, 1, 0])
    total = 0.0
    for embedding, k in zip(embeddings, classes, strict=True):
        scores = [math.exp(float(embedding @ prototype) / 0.5) for prototype in prototypes]
        total -= math.log(scores[k] / sum(scores))
    assert prototype_loss(embeddings, prototypes, classes, temperature=0.5).item() == pytest.approx(total / 5)
    with pytest.raises(ValueError, match="positive"):
        prototype_loss(embeddings, prototypes, classes, temperature=-1.0)
