"""The two towers with shared weights, batched and differentiable: users with their questions, and answers.

Rows of a user are laid out as in serving, [prefix][question 1]…[question K], each question followed by <USER_EMB> and,
where its answer is to be predicted, by the answer's tokens. A question sees its user's prefix and itself.
"""

# B users, K questions of each user, N = B K;
# P prefix rows, L rows of a user, A answers, W tokens, D width, E embedding_dim

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Int64, UserBatch
from updater.model.user_model import UserModel
from updater.training.paper.losses import next_token_loss_sum

USER_EMB = -1
"""Stands for <USER_EMB> among token ids."""
ANSWERS_PER_GROUP = 48


@dataclass(frozen=True)
class Pairs:
    """Tokens of B users' questions and answers; every user has the same number K of questions."""

    questions: Sequence[Sequence[Sequence[int]]]
    """Token ids per user and question."""
    question_BK: Int64
    """A number for each question."""
    answers: Sequence[Sequence[int]]
    """Token ids of the distinct answers of the batch."""
    answer_ids: Int64
    """A number for each that is the same in every process, by which equal answers are known."""
    answer_BK: Int64
    """Which answer belongs to a question."""
    predicted_BK: np.ndarray
    """True where the answer is predicted token by token as well."""


@dataclass(frozen=True)
class TowerOutput:
    """Embeddings of length 1, and the next-token loss as a sum over `num_tokens` predicted tokens."""

    anchors_NE: Tensor
    """User by user."""
    answers_AE: Tensor
    """In the order of `Pairs.answers`."""
    next_token_sum: Tensor
    num_tokens: int


class Towers(nn.Module):
    """Anchor tower and answer tower around one UserModel (arXiv 2602.14492, section on the dual tower).

    Answers are read at <USER_EMB> too, which the published code reads at their last token.
    """

    def __init__(self, model: UserModel, vocabulary: Int64) -> None:
        """`vocabulary`: ids of the tokens that answers are made of; next tokens are predicted among these."""
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary

    def forward(self, batch: UserBatch, pairs: Pairs) -> TowerOutput:
        """Embeddings of all questions and their answers."""
        anchors_BKE, next_token_sum, num_tokens = self._anchors(batch, pairs)
        answers_AE = self._answers(pairs.answers)
        return TowerOutput(anchors_BKE.flatten(0, 1), answers_AE, next_token_sum, num_tokens)

    def _anchors(self, batch: UserBatch, pairs: Pairs) -> tuple[Tensor, Tensor, int]:
        model = self.model
        prefix_BPD, prefix_lengths_B = pad_prefixes(model, batch)
        tails = [
            [
                [*question, USER_EMB, *(pairs.answers[answer] if predicted else ())]
                for question, answer, predicted in zip(*row, strict=True)
            ]
            for row in zip(pairs.questions, pairs.answer_BK, pairs.predicted_BK, strict=True)
        ]
        layout = lay_out(prefix_lengths_B, prefix_BPD.shape[1], [[len(tail) for tail in row] for row in tails])
        tail_BLD = embed_padded(model, [[token for tail in row for token in tail] for row in tails])
        states_BLD = run_decoder(model, torch.cat([prefix_BPD, tail_BLD], dim=1), layout)
        ends = layout.starts_BK + np.array([[len(question) for question in row] for row in pairs.questions])
        users = np.arange(len(ends))[:, None]
        embeddings_BKE = model.head(states_BLD[users, ends])
        where, labels = _targets(pairs, ends)
        if not len(labels):
            return embeddings_BKE, embeddings_BKE.new_zeros(()), 0
        states_WD = states_BLD[where[:, 0], where[:, 1]]
        logits = states_WD @ model.backbone.get_output_embeddings().weight[torch.from_numpy(self.vocabulary)].T
        targets = torch.from_numpy(np.searchsorted(self.vocabulary, labels))
        return embeddings_BKE, next_token_loss_sum(logits, targets), len(labels)

    def _answers(self, answers: Sequence[Sequence[int]]) -> Tensor:
        """Embeddings of the answers, shape (A, E); in groups of like length, so that little is padding."""
        model = self.model
        order = np.argsort([len(answer) for answer in answers], kind="stable")
        groups = np.array_split(order, -(-len(order) // ANSWERS_PER_GROUP))
        read = []
        for group in groups:
            rows = [[*answers[answer], USER_EMB] for answer in group]
            # Padding comes last, so that no token that is read sees it.
            states = model.backbone.base_model(inputs_embeds=embed_padded(model, rows), use_cache=False)
            last = torch.tensor([len(row) - 1 for row in rows])
            read.append(model.head(states.last_hidden_state[torch.arange(len(rows)), last]))
        return torch.cat(read)[np.argsort(order)]


@dataclass(frozen=True)
class Layout:
    """Where the rows of padded users lie: prefixes first, padded to the longest, then their tails."""

    num_rows: int
    positions_BL: Tensor
    mask_BLL: Tensor
    """True where a row may look."""
    starts_BK: Int64
    """First row of each tail."""


def lay_out(prefix_lengths_B: Int64, prefix_rows: int, tail_lengths: Sequence[Sequence[int]]) -> Layout:
    """Mask and positions of users whose tails do not see each other."""
    num_users, num_rows = len(tail_lengths), prefix_rows + max(sum(row) for row in tail_lengths)
    # Owner 0 is the prefix, -1 padding; within an owner the order of rows is that of time.
    owner = np.full((num_users, num_rows), -1)
    positions = np.zeros((num_users, num_rows), dtype=np.int64)
    starts = np.zeros((num_users, len(tail_lengths[0])), dtype=np.int64)
    for user, (prefix, row) in enumerate(zip(prefix_lengths_B.tolist(), tail_lengths, strict=True)):
        owner[user, :prefix] = 0
        positions[user, :prefix] = np.arange(prefix)
        start = prefix_rows
        for k, length in enumerate(row):
            owner[user, start : start + length] = k + 1
            positions[user, start : start + length] = prefix + np.arange(length)
            starts[user, k] = start
            start += length
    owner_BL = torch.from_numpy(owner)
    same = owner_BL[:, :, None] == owner_BL[:, None, :]
    mask = (same | (owner_BL == 0)[:, None, :]) & torch.ones(num_rows, num_rows, dtype=torch.bool).tril()
    # A padding row may look at itself: a softmax over nothing is not a number.
    mask |= torch.eye(num_rows, dtype=torch.bool)
    return Layout(num_rows, torch.from_numpy(positions), mask, starts)


def pad_prefixes(model: UserModel, batch: UserBatch) -> tuple[Tensor, Int64]:
    """Input embeddings of the users' prefixes, shape (B, P, D), padded at the end, and their lengths."""
    packed = model.prefix_rows(batch)
    pieces = torch.split(packed.rows_TD, packed.prefix_lengths_B.tolist())
    return nn.utils.rnn.pad_sequence(list(pieces), batch_first=True), packed.prefix_lengths_B


def run_decoder(model: UserModel, rows_BLD: Tensor, layout: Layout) -> Tensor:
    """Final hidden states, shape (B, L, D). The mask is explicit, see `model.reference`."""
    mask = torch.zeros(layout.mask_BLL.shape, dtype=rows_BLD.dtype)
    mask.masked_fill_(~layout.mask_BLL, torch.finfo(rows_BLD.dtype).min)
    states: Tensor = model.backbone.base_model(
        inputs_embeds=rows_BLD,
        attention_mask=mask[:, None].to(rows_BLD.device),
        position_ids=layout.positions_BL.to(rows_BLD.device),
        use_cache=False,
    ).last_hidden_state
    return states


def embed_padded(model: UserModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Input embeddings of rows of token ids, padded at the end, shape (rows, L, D); USER_EMB is the model's own.

    One lookup for all of them: each lookup costs a gradient as large as the vocabulary.
    """
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), USER_EMB)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    distinct, places = np.unique(np.append(ids.ravel(), USER_EMB), return_inverse=True)
    table = torch.cat([model.user_emb_D[None], model.embed_ids(distinct[1:].tolist())])
    return table[torch.from_numpy(places[:-1])].view(len(rows), longest, -1)


def _targets(pairs: Pairs, ends_BK: Int64) -> tuple[Int64, Int64]:
    """Rows (user, row) that predict a token, and the tokens: an answer is predicted from <USER_EMB> on."""
    where: list[tuple[int, int]] = []
    labels: list[int] = []
    for user, k in np.argwhere(pairs.predicted_BK):
        answer = pairs.answers[pairs.answer_BK[user, k]]
        where += [(user, ends_BK[user, k] + step) for step in range(len(answer))]
        labels += answer
    return np.array(where, dtype=np.int64).reshape(-1, 2), np.array(labels, dtype=np.int64)
