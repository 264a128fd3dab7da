"""Question-anchored counts: how much of what a question is about a user did, and how lately.

Softmax attention averages: it says what a user's yogurt is like, not how much of it there is. Here each of the user's
distinct texts counts by how much it is what the question asks for, and the statistics of the texts are added up so.
"""

# T texts of all users, S questions, J kernels, K statistics, N = 8 numbers of a kernel, X text_dim, H width of a key

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from updater.model.batch import Float32
from updater.model.layers.event_adapter import LinearResidualMLP
from updater.model.layers.principal_axes import principal_axes
from updater.model.layouts.text_statistics import AGE, AMOUNT, DECAYED, FADING_DAYS, GAP, UserTexts

KEY_DIM = 64
FIRST_SHARPNESS = (6.0, 12.0, 20.0)
FIRST_THRESHOLD = (0.2, 0.45, 0.65)
"""From all that lies near a question to what it names."""
NUM_KERNELS = len(FIRST_SHARPNESS)
NUM_SUMMED = AMOUNT + 3
"""Sums of a kernel: counts and amount, then what fades, the gaps and the weights themselves."""
NUM_NUMBERS = NUM_KERNELS * 8
HIDDEN = 64
FADED, GAPS, WEIGHTS = 6, 7, 8


def summed(texts: UserTexts) -> Float32:
    """What is added up over a user's texts, weighed by a question: shape (T, NUM_SUMMED)."""
    x = texts.statistics_TK
    fading = np.exp(-np.arange(int(x[:, AGE].max(initial=0)) + 1) / FADING_DAYS)[x[:, AGE].astype(np.int64)]
    columns = [x[:, : DECAYED.stop], x[:, AMOUNT], fading, np.log1p(x[:, GAP]), np.ones(len(x))]
    return np.column_stack(columns).astype(np.float32)


class QuestionKeys(nn.Module):
    """Centred vectors (…, X) to keys of length 1 (…, H), between which likeness is an inner product."""

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, min(KEY_DIM, text_dim), bias=False)
        nn.init.orthogonal_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Keys."""
        return normalize(self.linear(x), dim=-1)


class TextKeys(QuestionKeys):
    """The same of texts, (…, X + M): behind a text's vector stands a one for its modality, a zero for each other.

    A question about purchases and one about coupons tell the same words in the two apart.
    """

    def __init__(self, text_dim: int, num_modalities: int) -> None:
        super().__init__(text_dim)
        self.text_dim = text_dim
        self.modality = nn.Linear(num_modalities, self.linear.out_features, bias=False)
        nn.init.zeros_(self.modality.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Keys."""
        texts, modalities = x[..., : self.text_dim], x[..., self.text_dim :]
        return normalize(self.linear(texts) + self.modality(modalities), dim=-1)


def shifted(key_H: Tensor, shift_H: Tensor) -> Tensor:
    """A question's key, moved by what its scenario learned; of length 1 again."""
    return normalize(key_H + shift_H, dim=-1)


class Kernels(nn.Module):
    """How much a text is what a question asks for: a logistic curve of their likeness, by three kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness_J = nn.Parameter(torch.tensor(FIRST_SHARPNESS))
        self.threshold_J = nn.Parameter(torch.tensor(FIRST_THRESHOLD))

    def forward(self, likeness_TS: Tensor) -> Tensor:
        """Weights of the texts, shape (T, S J)."""
        return torch.sigmoid(self.sharpness_J * (likeness_TS[:, :, None] - self.threshold_J)).flatten(1)


class Likeness(nn.Module):
    """From keys of texts (T, H) to the kernels' weights for some questions (T, S J)."""

    def __init__(self, kernels: Kernels, questions_SH: Tensor) -> None:
        super().__init__()
        self.kernels = kernels
        self.questions_HS = questions_SH.T

    def forward(self, keys_TH: Tensor) -> Tensor:
        """Weights."""
        weights_TW: Tensor = self.kernels(keys_TH @ self.questions_HS)
        return weights_TW


class CountNumbers(nn.Module):
    """From the sums of the kernels (N, J NUM_SUMMED) to the numbers that are learned from, (N, J 8)."""

    def forward(self, sums: Tensor) -> Tensor:
        """Logarithms of sums, how lately, and the days between."""
        sums_NJK = sums.view(len(sums), NUM_KERNELS, NUM_SUMMED)
        counts = torch.log1p(sums_NJK[..., :FADED].contiguous())
        recency = 0.3 * torch.log(0.001 + sums_NJK[..., FADED : FADED + 1].contiguous())
        gaps = sums_NJK[..., GAPS : GAPS + 1] / (0.5 + sums_NJK[..., WEIGHTS:])
        return torch.cat([counts, recency, gaps], dim=2).flatten(1)


class AnchoredCounts(nn.Module):
    """Maps of questions and texts to keys, the kernels between them, and an adapter to the width of the model."""

    def __init__(self, text_dim: int, num_modalities: int, width: int) -> None:
        super().__init__()
        self.question_keys = QuestionKeys(text_dim)
        self.text_keys = TextKeys(text_dim, num_modalities)
        self.kernels = Kernels()
        self.numbers = CountNumbers()
        self.adapter = LinearResidualMLP(NUM_NUMBERS, HIDDEN, width, nn.GELU())
        with torch.no_grad():
            self.question_keys.linear.weight.copy_(self.text_keys.linear.weight)

    @torch.no_grad()
    def fit(self, texts_NX: Tensor) -> None:
        """Let both maps begin as the first principal components of centred texts."""
        _, axes = principal_axes(texts_NX.double(), self.text_keys.linear.out_features)
        for keys in (self.question_keys, self.text_keys):
            keys.linear.weight.copy_(axes.T)


def sum_padded(weights_TW: Tensor, x_TK: Tensor, offsets_B1: Tensor) -> Tensor:
    """Per user the sum over its texts of weight times statistic, shape (B, W, K), for all users at once."""
    counts_B = offsets_B1.diff()
    longest = max(int(counts_B.max()) if len(counts_B) else 0, 1)
    place_BT = offsets_B1[:-1, None] + torch.arange(longest, device=counts_B.device)
    real_BT = torch.arange(longest, device=counts_B.device) < counts_B[:, None]
    # Row 0 stands for padding, whose statistics are zeros.
    place_BT = torch.where(real_BT, place_BT + 1, 0)
    padded_weights = nn.functional.pad(weights_TW, (0, 0, 1, 0))[place_BT]
    padded_x = nn.functional.pad(x_TK, (0, 0, 1, 0))[place_BT]
    return padded_weights.transpose(1, 2) @ padded_x


def sum_in_order(weights_TW: Tensor, x_TK: Tensor, offsets_B1: Tensor) -> Tensor:
    """The same, each user's texts one after the other, so that a user's bits do not depend on the other users."""
    products = (weights_TW[:, :, None] * x_TK[:, None]).flatten(1)
    rows = torch.arange(len(products), device=products.device)
    sums = embedding_bag(rows, products, offsets_B1, mode="sum", include_last_offset=True)
    return sums.view(len(offsets_B1) - 1, weights_TW.shape[1], x_TK.shape[1])
