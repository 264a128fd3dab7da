"""The model and its training with one part taken away or changed at a time."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from updater.model.layers.event_adapter import LinearResidualMLP
from updater.model.layouts.anchored_counts import NUM_KERNELS, NUM_NUMBERS
from updater.model.layouts.anchored_layout import AnchoredLayout
from updater.model.user_model import UserModel
from updater.training.dense import loss, steps
from updater.training.dense.labels.table import DenseTable
from updater.training.steps import schedule

BASE = "base"
STEPS = 150
Change = Callable[[UserModel], None]


def silence(parameter: nn.Parameter, columns: Sequence[int] | slice = slice(None)) -> None:
    """Make columns of a matrix zero, and keep them so while it is trained."""
    kept = torch.ones_like(parameter)
    kept[:, columns] = 0
    with torch.no_grad():
        parameter.mul_(kept)
    parameter.register_hook(lambda gradient: gradient * kept)


def _layout(model: UserModel) -> AnchoredLayout:
    assert isinstance(model.layout, AnchoredLayout)
    return model.layout


def _silence_adapter(adapter: LinearResidualMLP, columns: Sequence[int] | slice = slice(None)) -> None:
    silence(adapter.straight.weight, columns)
    silence(adapter.up.weight, columns)


def _numbers(*kinds: int) -> list[int]:
    """Positions of the numbers of these kinds, of each kernel."""
    each = NUM_NUMBERS // NUM_KERNELS
    return [kernel * each + kind for kernel in range(NUM_KERNELS) for kind in kinds]


def without_counts(model: UserModel) -> None:
    """A question counts nothing."""
    _silence_adapter(_layout(model).counts.adapter)


def without_user_token(model: UserModel) -> None:
    """Nothing of a user but what the question counts."""
    without_taste(model)
    [adapter] = [part for part in _layout(model).user_adapter if isinstance(part, LinearResidualMLP)]
    _silence_adapter(adapter)


def without_taste(model: UserModel) -> None:
    """A user's other texts show in columns alone."""
    [adapter] = [part for part in _layout(model).taste_adapter if isinstance(part, LinearResidualMLP)]
    _silence_adapter(adapter)


def without_question_vector(model: UserModel) -> None:
    """A question shows in its counts alone."""
    silence(_layout(model).question_linear.weight)


def first_kernel_alone(model: UserModel) -> None:
    """One of the kernels, the broadest."""
    _silence_adapter(_layout(model).counts.adapter, slice(NUM_NUMBERS // NUM_KERNELS, None))


def without_broad_kernel(model: UserModel) -> None:
    """All kernels but the broadest."""
    _silence_adapter(_layout(model).counts.adapter, slice(0, NUM_NUMBERS // NUM_KERNELS))


def keys_without_modality(model: UserModel) -> None:
    """The same words count alike in all modalities."""
    silence(_layout(model).counts.text_keys.modality.weight)


def without_length(model: UserModel) -> None:
    """Embeddings tell directions alone; as many numbers as before, one of them zero."""
    model.head.constant = 1e-6


def without_decays(model: UserModel) -> None:
    """Neither decayed days nor how lately: how often, for how much, and the gaps."""
    _silence_adapter(_layout(model).counts.adapter, _numbers(2, 3, 4, 6))


def without_amounts_and_gaps(model: UserModel) -> None:
    """How often and how lately alone."""
    _silence_adapter(_layout(model).counts.adapter, _numbers(5, 7))


def fixed_keys(model: UserModel) -> None:
    """The maps from texts and questions to keys stay principal components."""
    for keys in (_layout(model).counts.question_keys, _layout(model).counts.text_keys):
        keys.requires_grad_(False)


def linear_adapters(model: UserModel) -> None:
    """Linear maps of counts and of users' columns, without the MLPs beside them."""
    for module in _layout(model).modules():
        if isinstance(module, LinearResidualMLP):
            silence(module.down.weight)


def without_best(table: DenseTable) -> DenseTable:
    """No validation anchor: the last weights are kept."""
    return dataclasses.replace(table, valid=())


def one_prior(table: DenseTable) -> DenseTable:
    """How common an answer is, over all anchor days."""
    return dataclasses.replace(table, anchor_priors={})


def every_other_anchor(table: DenseTable) -> DenseTable:
    """Half of the training anchors."""
    anchors = sorted({anchor for anchor, _ in table.train})[::2]
    chosen = [number for number, (anchor, _) in enumerate(table.train) if anchor in anchors]
    return dataclasses.replace(table, train=tuple(table.train[n] for n in chosen), sizes=table.sizes[chosen])


@dataclass(frozen=True)
class Variant:
    """What is not as it is in the base."""

    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the config's `[training]`."""
    seed: int | None = None
    """Of weights, order and dropout."""
    backbone: str = "none"
    model: Change | None = None
    """Applied to the fitted model."""
    table: Callable[[DenseTable], DenseTable] | None = None
    constants: tuple[tuple[ModuleType, str, Any], ...] = ()
    """Constants of the code: module, name, value."""

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """The constants, for the length of a `with` block."""
        with ExitStack() as stack:
            for module, name, value in self.constants:
                stack.enter_context(patch.object(module, name, value))
            yield


VARIANTS = {
    BASE: Variant(),
    "another seed": Variant(seed=8),
    "a third seed": Variant(seed=9),
    "without counts": Variant(model=without_counts),
    "without user token": Variant(model=without_user_token),
    "without taste": Variant(model=without_taste),
    "without question vector": Variant(model=without_question_vector),
    "without the broad kernel": Variant(model=without_broad_kernel),
    "one kernel": Variant(model=first_kernel_alone),
    "keys do not know the modality": Variant(model=keys_without_modality),
    "length is lost": Variant(model=without_length),
    "one prior for all anchor days": Variant(table=one_prior),
    "counts without decays": Variant(model=without_decays),
    "counts without amounts and gaps": Variant(model=without_amounts_and_gaps),
    "linear adapters": Variant(model=linear_adapters),
    "keys not learned": Variant(model=fixed_keys),
    "keys at the full rate": Variant(constants=((schedule, "KEYS_RATE", 1.0),)),
    "without the other questions' answers": Variant(constants=((loss, "CROSS_SCALE", 0.0),)),
    "one wording of each question": Variant(constants=((steps, "MOST_WORDINGS", 1),)),
    "questions about days alone": Variant({"counted_questions": 24}),
    "four questions a step": Variant({"questions_per_step": 4, "counted_questions": 3}),
    "an anchor every four weeks": Variant(table=every_other_anchor),
    "the last weights": Variant(table=without_best),
    "half of the steps": Variant({"steps": STEPS // 2}),
    "three times the steps": Variant({"steps": 3 * STEPS}),
    "with two layers": Variant(backbone="tiny"),
}
