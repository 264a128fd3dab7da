"""The model together with the loss on top of it: what a step of training calls."""

import torch
from torch import Tensor, nn

from updater.model.user_model import UserModel
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.loss import DenseLoss, make_loss
from updater.training.dense.steps import Step


class DenseTask(nn.Module):
    """A module whose parameters are all that is trained."""

    def __init__(self, model: UserModel, table: DenseTable, seed: int) -> None:
        super().__init__()
        self.model = model
        texts = list(dict.fromkeys(text for question in table.questions for text in question.texts))
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors_NT = model.question_vectors(texts)
        num_answers = table.priors_QK.shape[1]
        self.loss: DenseLoss = make_loss(self._vectors_NT.shape[1], model.config.embedding_dim, num_answers, seed)

    def forward(self, step: Step, layers: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The losses of a step, of an embedding's own answers and of the other questions', as sums over how many
        (see `DenseLoss`).
        """
        rows = torch.tensor([self._rows[query] for query in step.queries])
        embeddings_BSE = self.model.train_forward(step.batch, step.queries, layers=layers)
        losses: tuple[Tensor, Tensor, Tensor] = self.loss(
            embeddings_BSE, self._vectors_NT[rows], step.priors_SK, step.answers_BSK, step.known_BS
        )
        return losses
