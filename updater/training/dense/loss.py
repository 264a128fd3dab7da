"""The loss of dense labels, with the weights that it needs beside the model, which keeps both maps after training."""

# B users, S questions of a step, K answers to each, T text width, E embedding width

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from updater.model.layers.own_answers import OwnAnswers

CROSS_SCALE = 0.1
"""Of the inner products by which an embedding predicts other questions' answers: at first next to nothing."""


class DenseLoss(nn.Module):
    """Binary cross entropy of every question's answers, given its own embedding and given any other question's.

    One map from an embedding to the answers serves all questions, so that what predicts an answer is learned from all
    of them. How common an answer is needs no learning and is added.
    """

    def __init__(self, text_dim: int, embedding_dim: int, num_answers: int) -> None:
        super().__init__()
        self.own = OwnAnswers(text_dim, embedding_dim, num_answers)
        self.cross = nn.Linear(text_dim, embedding_dim)

    def forward(
        self, embeddings_BSE: Tensor, questions_ST: Tensor, priors_SK: Tensor, answers_BSK: Tensor, known_BS: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The two losses, each a sum over what is known, and how much that is.

        Args:
            embeddings_BSE: of the users under the questions of a step, of any length.
            questions_ST: vectors of these questions.
            priors_SK: log odds of their answers.
            answers_BSK: 0 or 1.
            known_BS: true where a user has answers to a question.
        """
        known_BS = known_BS.to(embeddings_BSE.dtype)
        logits_BSK = self.own(embeddings_BSE, questions_ST) + priors_SK
        own = F.binary_cross_entropy_with_logits(logits_BSK, answers_BSK, reduction="none").mean(dim=2)
        # Each embedding of a user predicts the first answer to all questions, so that it keeps more than its own.
        cross_BSS = CROSS_SCALE * embeddings_BSE @ self.cross(questions_ST).T + priors_SK[:, 0]
        answers_BSS = answers_BSK[:, None, :, 0].expand_as(cross_BSS)
        others = F.binary_cross_entropy_with_logits(cross_BSS, answers_BSS, reduction="none").mean(dim=1)
        return (own * known_BS).sum(), (others * known_BS).sum(), known_BS.sum()


def make_loss(text_dim: int, embedding_dim: int, num_answers: int, seed: int) -> DenseLoss:
    """A loss whose initial weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenseLoss(text_dim, embedding_dim, num_answers)
