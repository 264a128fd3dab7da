"""The user model for embeddings and answers: its weights packed once, users and questions in packs."""

# B users, S questions, D model width, E embedding_dim, K answers

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from updater.model.batch import Float32, Int64, UserBatch, check_batch
from updater.model.layers.decoder import READ_ROWS, PackedDecoder, is_supported
from updater.model.layers.linear import in_chunks, pack_linears
from updater.model.layers.reference import read_suffixes
from updater.model.layouts.anchored_counts import sum_in_order
from updater.model.user_model import EmbeddingHead, UserModel

ADAPTER_ROWS = 64
"""Rows of each call of an adapter's linear layers."""
TOKENS_PER_PACK = 8192
"""Prefix and suffix tokens of the users that share a forward pass; more only costs memory."""


class InferenceModel:
    """A user model with its weights as they are now, packed once. Training it further does not show here."""

    def __init__(self, model: UserModel) -> None:
        self.config = model.config
        self._model = model
        self._serving = _Serving(model)

    @torch.inference_mode()
    def embed(
        self,
        batch: UserBatch,
        queries: Sequence[str],
        scenarios: Sequence[str] = (),
        *,
        tokens_per_pack: int | None = None,
    ) -> Float32:
        """Scenario embeddings, all queries read off one pass over each user's prefix.

        Args:
            batch: B users.
            queries: S questions.
            scenarios: their scenarios' names, if soft prompts are to be used.
            tokens_per_pack: tokens that share a forward pass, TOKENS_PER_PACK if left out; does not change the result.

        Returns:
            L2-normalized embeddings, shape (B, S, E).

        Raises:
            ValueError: the batch does not fit the model, or there is no query.
        """
        serving, head = self._serving, self._model.head
        width = self.config.embedding_dim
        return self._read(batch, queries, scenarios, tokens_per_pack, width, lambda states: serving.run(head, states))

    @torch.inference_mode()
    def embed_and_answer(
        self, batch: UserBatch, queries: Sequence[str], *, tokens_per_pack: int | None = None
    ) -> tuple[Float32, Float32]:
        """Embeddings, to the bit those of `embed`, and off the same pass how likely the answers to each question are.

        Args:
            batch: B users.
            queries: S questions, which should be worded as training's are.
            tokens_per_pack: as in `embed`.

        Returns:
            Embeddings, shape (B, S, E), and log odds less those among all users (`OwnAnswers`), shape (B, S, K).

        Raises:
            ValueError: the batch does not fit the model, there is no query, or the model was not trained to answer.
        """
        model, width = self._model, self.config.embedding_dim
        if model.own_answers is None:
            raise ValueError("The model keeps no map to answers; train one with the objective dense.")
        read = self._serving.embeddings_and_answers
        read_BSX = self._read(batch, queries, (), tokens_per_pack, width + self.num_answers, read)
        of_questions_SK = model.own_answers.question(model.question_vectors(queries)).numpy(force=True)
        return read_BSX[..., :width], read_BSX[..., width:] + of_questions_SK

    def answers(self, batch: UserBatch, queries: Sequence[str]) -> Float32:
        """The answers of `embed_and_answer` alone, shape (B, S, K)."""
        return self.embed_and_answer(batch, queries)[1]

    @property
    def num_answers(self) -> int:
        """Answers to each question, K; none if the model was not trained to answer."""
        own = self._model.own_answers
        return 0 if own is None else own.question.out_features

    def _read(
        self,
        batch: UserBatch,
        queries: Sequence[str],
        scenarios: Sequence[str],
        tokens_per_pack: int | None,
        width: int,
        read: Callable[[Tensor], Tensor],
    ) -> Float32:
        """The `width` numbers that `read` makes of each hidden state (N, D) at <USER_EMB>, shape (B, S, width)."""
        check_batch(batch, self.config)
        model, layout, serving = self._model, self._model.layout, self._serving
        words = model.words(queries, scenarios)
        lengths = [len(each) + 1 for each in words]
        users = layout.users(batch, serving.run)
        found = np.empty((batch.num_users, len(queries), width), dtype=np.float32)
        for chosen in _packs(layout.lengths(users) + sum(lengths), tokens_per_pack or TOKENS_PER_PACK):
            part = users.select(chosen)
            ends_BSD = model.ends(part, queries, scenarios, serving.run, sum_in_order)
            if model.norm is not None:
                states_ND = serving.run(model.norm, ends_BSD.flatten(0, 1))
            else:
                packed = layout.rows(part, words, ends_BSD, serving.run)
                states_ND = serving.decode(packed.rows_TD, packed.prefix_lengths_B, lengths).flatten(0, 1)
            found[chosen] = read(states_ND).view(len(chosen), len(queries), width).numpy(force=True)
        return found


class _Serving:
    """A snapshot of a model's weights in the layout of the fast path."""

    def __init__(self, model: UserModel) -> None:
        backbone = model.backbone
        on_cpu = model.user_emb_D.device.type == "cpu"
        self._dtype = torch.bfloat16 if model.config.precision == "bfloat16" else torch.float32
        is_packed = backbone is not None and on_cpu and is_supported(backbone.config)
        self._decoder = PackedDecoder(backbone, self._dtype) if is_packed else None
        self._backbone = backbone
        self._head = model.head
        self._packed = {module: pack_linears(module, ADAPTER_ROWS) for module in model.layout.served()}
        self._packed[model.head] = pack_linears(model.head, READ_ROWS)
        self._answer = None if model.own_answers is None else pack_linears(model.own_answers.answer, READ_ROWS)

    def run(self, module: nn.Module, rows: Tensor) -> Tensor:
        """Apply a module to rows in calls of a fixed number of them; one that has no weights of its own, as it is."""
        return in_chunks(self._packed.get(module, module), rows, READ_ROWS if module is self._head else ADAPTER_ROWS)

    def embeddings_and_answers(self, states_ND: Tensor) -> Tensor:
        """Beside the embeddings what the answers take from the reading before it is brought to length 1, (N, E + K)."""
        head, answer = cast("EmbeddingHead", self._packed[self._head]), cast("nn.Module", self._answer)

        def read(states: Tensor) -> Tensor:
            readings = head.read(states)
            return torch.cat((normalize(readings, dim=-1), answer(readings)), dim=-1)

        return in_chunks(read, states_ND, READ_ROWS)

    def decode(self, rows_TD: Tensor, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]) -> Tensor:
        """Hidden states at the end of each suffix, shape (B, S, D)."""
        if self._decoder is not None:
            return self._decoder(rows_TD, prefix_lengths_B, suffix_lengths)
        with torch.autocast(rows_TD.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            return read_suffixes(self._backbone, rows_TD, prefix_lengths_B, suffix_lengths).float()


def _packs(tokens_B: Int64, tokens_per_pack: int) -> Iterator[Int64]:
    """Consecutive users whose tokens add up to at most `tokens_per_pack`; a larger user goes alone."""
    start = total = 0
    for user, tokens in enumerate(tokens_B.tolist()):
        if user > start and total + tokens > tokens_per_pack:
            yield np.arange(start, user)
            start, total = user, 0
        total += tokens
    if len(tokens_B) > start:
        yield np.arange(start, len(tokens_B))
