"""What questions count of users' texts, against the matrix products that no way can do without.

Text keys, question keys, the likeness of each text and question, and the weighted sums of each user. Beside these there
are two logistic curves of every text and question, logarithms, and the order of additions that keeps a user's bits.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.model_references import TOLERANCE
from benchmarks.model_setup import QUERIES, counting_model, users_with_texts
from benchmarks.row import Row, measured
from benchmarks.timing import cpu_seconds, in_turns, ratios, top_operators
from updater.model.inference import ADAPTER_ROWS
from updater.model.layers.linear import in_chunks, pack_linears
from updater.model.layouts.anchored_counts import NUM_KERNELS, NUM_SUMMED, sum_in_order
from updater.model.layouts.anchored_layout import AnchoredLayout, AnchoredUsers

TEXTS = 73
"""Distinct texts of a user: the median of configs/quality.toml's."""
USERS, ROUNDS = 64, 9
SMOKE_USERS, SMOKE_ROUNDS = 4, 2
VOCABULARY = 1_500
"""Distinct texts of all of these users."""
TARGET = ">= 0.5"


def counts_row(smoke: bool) -> Row:
    """The counts of ten questions, as they are computed in serving."""
    model = counting_model()
    layout = model.layout
    assert isinstance(layout, AnchoredLayout)
    num_users, rounds = (SMOKE_USERS, SMOKE_ROUNDS) if smoke else (USERS, ROUNDS)
    users = layout.users(users_with_texts(model, num_users, TEXTS, VOCABULARY))
    questions_SX = model.question_vectors(QUERIES[:10])
    run = _Serving(layout).run

    def ours() -> Tensor:
        return layout.numbers(users, run(layout.counts.question_keys, questions_SX), run, sum_in_order)

    difference = float((ours() - layout.numbers(users, layout.counts.question_keys(questions_SX))).abs().max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"Counts in serving and in training differ by {difference:.1e}, so their time says nothing.")
    products = partial(_products, *_operands(layout, users, questions_SX))
    methods = {"ours": partial(cpu_seconds, ours), "products": partial(cpu_seconds, products)}
    seconds = in_turns(methods, rounds)
    per_user = 1000 * float(np.median(seconds["ours"])) / num_users
    return measured(
        f"counts, {TEXTS} texts of a user, ten questions: time of the bare matrix products over the counts'",
        ratios(seconds["products"], seconds["ours"]),
        TARGET,
        note=f"{per_user:.3g} CPU ms per user",
        where=lambda: top_operators(ours),
    )


class _Serving:
    """Modules packed as `InferenceModel` packs them."""

    def __init__(self, layout: AnchoredLayout) -> None:
        self._packed = {module: pack_linears(module, ADAPTER_ROWS) for module in layout.served()}

    def run(self, module: nn.Module, rows: Tensor) -> Tensor:
        """Apply a module in calls of a fixed number of rows."""
        return in_chunks(self._packed.get(module, module), rows, ADAPTER_ROWS)


def _operands(layout: AnchoredLayout, users: AnchoredUsers, questions_SX: Tensor) -> tuple[Tensor, ...]:
    texts, keys = users.texts, layout.counts.text_keys.linear.weight.detach()
    num_users, num_texts = len(users.user_BD), len(texts.row_T)
    weights = torch.rand(num_users, len(questions_SX) * NUM_KERNELS, num_texts // num_users)
    statistics = torch.rand(num_users, num_texts // num_users, NUM_SUMMED)
    gathered_TH = torch.rand(num_texts, len(keys))
    return torch.from_numpy(texts.vectors_VX), questions_SX, keys.T.contiguous(), gathered_TH, weights, statistics


def _products(
    vectors_VX: Tensor, questions_SX: Tensor, keys_XH: Tensor, gathered_TH: Tensor, weights: Tensor, statistics: Tensor
) -> None:
    vectors_VX @ keys_XH
    gathered_TH @ (questions_SX @ keys_XH).T
    weights @ statistics
