"""The model together with the loss on top of it: what a step of training calls."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from updater.model.user_model import UserModel
from updater.training.dense.loss import DenseLoss, make_loss
from updater.training.dense.steps import Step
from updater.training.dense.table import DenseTable


class DenseTask(nn.Module):
    """A module whose parameters are all that is trained."""

    def __init__(self, model: UserModel, table: DenseTable, seed: int) -> None:
        super().__init__()
        self.model = model
        self._queries = [question.text for question in table.questions]
        self._vectors_QT = model.question_vectors(self._queries)
        priors = torch.from_numpy(table.priors_QK)
        self.loss: DenseLoss = make_loss(self._vectors_QT.shape[1], model.config.embedding_dim, priors, seed)

    def forward(self, step: Step, layers: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The losses of a step, of an embedding's own answers and of the other questions', as sums over how many
        (see `DenseLoss`).
        """
        asked = torch.from_numpy(step.asked_S)
        queries: Sequence[str] = [self._queries[number] for number in step.asked_S]
        embeddings_BSE = self.model.train_forward(step.batch, queries, layers=layers)
        losses: tuple[Tensor, Tensor, Tensor] = self.loss(
            embeddings_BSE, self._vectors_QT[asked], asked, step.answers_BSK, step.known_BS
        )
        return losses
