"""Training objectives: contrastive with a margin mask, next token, and prototypes (Q-Anchor, arXiv 2602.14492 v2).

Where the paper and its published demo disagree, both are here; `variant` says which.
"""

# B pairs, E embedding width, T tokens, W vocabulary, K classes

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.07
MARGIN = 0.1
Variant = Literal["paper", "demo"]


def contrastive_loss(
    anchors_BE: Tensor,
    answers_BE: Tensor,
    *,
    variant: Variant = "paper",
    temperature: float = TEMPERATURE,
    margin: float = MARGIN,
    same_BB: Tensor | None = None,
) -> Tensor:
    """Pre-training: find each anchor's own answer among the batch's, except what may be a false negative.

    With U the anchors, V the answers and cosines throughout:

    - `paper` (Eq. 3 to 5): negatives U-V, U-U and V-V. One mask for all three: pair (i, j) is out if
      cos(U_i, U_j) or cos(U_i, V_j) exceeds cos(U_i, V_i) + margin.
    - `demo` (the authors' code): negatives U-V, U-U and V-U. A mask for each: a term is out if it exceeds
      cos(U_i, V_i) + margin itself.

    Neither source prints the temperature and margin of its reported runs; the defaults are the demo's.

    Args:
        anchors_BE: user embeddings after the query, shape (B, E), of any length.
        answers_BE: answer embeddings, shape (B, E); row i belongs to anchor i.
        variant: which negatives and masks.
        temperature: divides the cosines.
        margin: how far a negative may lie above the positive; infinity masks nothing.
        same_BB: true for pairs whose answers are word for word the same, which are no negatives of each other; neither
            source has it, but answers computed from a log often coincide.

    Returns:
        The mean over the batch, a scalar of at least single precision; 0 where only positives remain.

    Raises:
        ValueError: the shapes differ, the temperature is not positive or the variant is unknown.
    """
    if anchors_BE.ndim != 2 or anchors_BE.shape != answers_BE.shape:
        raise ValueError(f"anchors {tuple(anchors_BE.shape)} and answers {tuple(answers_BE.shape)} must be (B, E).")
    _check_temperature(temperature)
    u_BE, v_BE = _unit(anchors_BE), _unit(answers_BE)
    uv_BB, uu_BB = u_BE @ v_BE.T, u_BE @ u_BE.T
    positive_B1 = uv_BB.diagonal()[:, None]
    # The mask selects, it is not learned from.
    limit_B1 = positive_B1.detach() + margin
    if variant == "paper":
        terms = [uv_BB, uu_BB, v_BE @ v_BE.T]
        keep = [(uu_BB.detach() <= limit_B1) & (uv_BB.detach() <= limit_B1)] * 3
    elif variant == "demo":
        terms = [uv_BB, uu_BB, uv_BB.T]
        keep = [term.detach() <= limit_B1 for term in terms]
    else:
        raise ValueError(f"variant is {variant!r}; use 'paper' or 'demo'.")
    others_BB = ~torch.eye(len(u_BE), dtype=torch.bool, device=u_BE.device)
    if same_BB is not None:
        others_BB &= ~same_BB
    negatives = [
        (term / temperature).masked_fill(~(mask & others_BB), -torch.inf)
        for term, mask in zip(terms, keep, strict=True)
    ]
    logits = torch.cat([positive_B1 / temperature, *negatives], dim=1)
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


def next_token_loss_sum(logits_TW: Tensor, targets_T: Tensor) -> Tensor:
    """Pre-training: cross entropy of each answer token given all before it, summed over tokens (Eq. 6).

    The paper prints this sum; the demo takes the mean, which does not grow with the answer's length. Training divides
    by the tokens of all processes.

    Args:
        logits_TW: the model's output where a token is predicted, shape (T, W).
        targets_T: the tokens, int64 below W.

    Returns:
        A scalar of at least single precision.
    """
    return F.cross_entropy(_precise(logits_TW), targets_T, reduction="sum")


def prototype_loss(
    embeddings_BE: Tensor, prototypes_KE: Tensor, classes_B: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """Softmax over inner products with one learned centre per class: the objective of soft prompt tuning (Eq. 7).

    The paper does not say whether vectors are normalized; they are taken as they are given.

    Args:
        embeddings_BE: scenario embeddings, shape (B, E).
        prototypes_KE: class centres, shape (K, E).
        classes_B: the class of each embedding, int64 below K.
        temperature: divides the inner products.

    Returns:
        The mean over the batch, a scalar of at least single precision.

    Raises:
        ValueError: the temperature is not positive.
    """
    _check_temperature(temperature)
    return F.cross_entropy(_precise(embeddings_BE) @ _precise(prototypes_KE).T / temperature, classes_B)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; use a positive number.")


def _precise(x: Tensor) -> Tensor:
    """At least single precision: half precision cannot distinguish cosines that differ by a thousandth."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _unit(x_BE: Tensor) -> Tensor:
    return F.normalize(_precise(x_BE), dim=1)
