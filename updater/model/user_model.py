"""The user model: users and questions in, one embedding per user and question out."""

# B users, S scenario queries, Q rows of all suffixes, D model width, E embedding_dim

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from updater.errors import ConfigError
from updater.model.batch import Float32, Int64, UserBatch, check_batch
from updater.model.config import ModelConfig
from updater.model.decoder import READ_ROWS, PackedDecoder, is_supported
from updater.model.event_adapter import QuestionGate, StraightAdapter
from updater.model.linear import in_chunks, pack_linears
from updater.model.reference import read_suffixes
from updater.model.user_prefix import PackedRows, Run, UserPrefix, run_module

ADAPTER_ROWS = 64
"""Rows of each call of an adapter's linear layers."""
TOKENS_PER_PACK = 8192
"""Prefix and suffix tokens of the users that share a forward pass; more only costs memory."""


class EmbeddingHead(StraightAdapter):
    """Linear, ReLU, Linear (as in the code of arXiv 2602.14492) beside a linear map, then L2 normalization."""

    def __init__(self, width: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__(width, hidden_dim, embedding_dim, nn.ReLU())

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states (…, D) to embeddings of length 1 (…, E)."""
        return nn.functional.normalize(super().forward(states), dim=-1)


class UserModel(nn.Module):
    """Query-conditioned user encoder (arXiv 2602.14492: prefix first, query last, read at <USER_EMB>).

    `forward` is differentiable; `InferenceModel` computes the same on packed weights. Both give an embedding of a user
    that does not depend on the other users; from the latter not in a single bit, with a packed decoder on a CPU.
    """

    def __init__(self, config: ModelConfig, backbone: Any, tokenizer: Tokenizer) -> None:
        """Wrap a Hugging Face causal language model.

        Raises:
            ConfigError: the longest possible prefix does not fit into the backbone's positions.
        """
        super().__init__()
        width = backbone.config.hidden_size
        self.config = config
        self.tokenizer = tokenizer
        self.backbone = backbone
        self.prefix = UserPrefix(config, width)
        self.user_emb_D = nn.Parameter(torch.randn(width) * 0.02)
        self.soft_prompts = nn.ParameterDict()
        """Per scenario name learned tokens in front of its query, shape (tokens, D)."""
        self.prototypes = nn.ParameterDict()
        """Per scenario name the learned centre of each class, shape (classes, embedding_dim)."""
        self.gate = QuestionGate(width, self.prefix.num_columns)
        self.head = EmbeddingHead(width, config.head_dim, config.embedding_dim)
        self._instruction = self.token_ids(config.instruction)
        longest = len(self._instruction) + 1 + sum(2 + modality.max_events for modality in config.modalities)
        if longest >= backbone.config.max_position_embeddings:
            raise ConfigError(
                f"A user prefix can take {longest} tokens, backbone {config.backbone!r} has "
                f"{backbone.config.max_position_embeddings} positions; lower max_events of the modalities."
            )

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "UserModel":
        """The model that `save_pretrained` wrote into a local directory.

        Raises:
            ConfigError: a file is missing, or the weights do not fit the config.
        """
        from updater.model.checkpoint import load_model

        return load_model(directory)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write config, weights, tokenizer and a model card; equal models give equal bytes."""
        from updater.model.checkpoint import save_model

        save_model(self, directory)

    def forward(self, batch: UserBatch, queries: Sequence[str], scenarios: Sequence[str] = ()) -> Tensor:
        """Embeddings with autograd, one user at a time. Arguments and result as in `embed`."""
        suffixes_QD, lengths = self.suffixes(queries, scenarios)
        packed = self.prefix(batch, self.instruction_rows(), suffixes_QD)
        states = read_suffixes(self.backbone, packed.rows_TD, packed.prefix_lengths_B, lengths)
        return self.read(states, packed.columns_BS[:, None] * self.gates(torch.split(suffixes_QD, lengths)))

    def gates(self, suffixes: Sequence[Tensor], run: Run = run_module) -> Tensor:
        """How much each question makes of each of a user's columns, shape (questions, S), from its suffix (W, D)."""
        return run(self.gate, torch.stack([suffix.mean(dim=0) for suffix in suffixes]))

    def read(self, states: Tensor, columns: Tensor, run: Run = run_module) -> Tensor:
        """Embeddings (…, E) from states at <USER_EMB> (…, D) and the columns (…, S) of users, weighed by the questions.

        The head hears the state plus the user token as the question has it.
        """
        if self.config.user_token:
            states = states + run(self.prefix.user_adapter, columns)
        return run(self.head, states)

    def embed(
        self,
        batch: UserBatch,
        queries: Sequence[str],
        scenarios: Sequence[str] = (),
        *,
        tokens_per_pack: int = TOKENS_PER_PACK,
    ) -> Float32:
        """As `InferenceModel.embed`, with the weights packed for this call: for a model that is still being trained."""
        return InferenceModel(self).embed(batch, queries, scenarios, tokens_per_pack=tokens_per_pack)

    def prefix_rows(self, batch: UserBatch) -> PackedRows:
        """Input embeddings of the users' prefixes alone, with autograd."""
        instruction_ID = self.instruction_rows()
        packed: PackedRows = self.prefix(batch, instruction_ID, instruction_ID[:0])
        return packed

    def prefix_lengths(self, batch: UserBatch) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        return self.prefix.lengths(batch, len(self._instruction))

    def suffixes(self, queries: Sequence[str], scenarios: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Input embeddings of all suffixes, shape (Q, D), and the length of each."""
        if not queries:
            raise ValueError("queries is empty; ask at least one.")
        suffixes = []
        for i, query in enumerate(queries):
            parts = [self.embed_ids(self.token_ids(query)), self.user_emb_D[None]]
            if i < len(scenarios) and scenarios[i] in self.soft_prompts:
                parts.insert(0, self.soft_prompts[scenarios[i]])
            suffixes.append(torch.cat(parts))
        return torch.cat(suffixes), [len(suffix) for suffix in suffixes]

    def token_ids(self, text: str) -> list[int]:
        """Tokens of a question or an answer, without special ones."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def instruction_rows(self) -> Tensor:
        """Input embeddings of the instruction that every prefix begins with, shape (tokens, D)."""
        return self.embed_ids(self._instruction)

    def embed_ids(self, ids: list[int]) -> Tensor:
        """Input embeddings of tokens, shape (tokens, D)."""
        embedding = self.backbone.get_input_embeddings()
        result: Tensor = embedding(torch.tensor(ids, dtype=torch.long, device=self.user_emb_D.device))
        return result


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
        tokens_per_pack: int = TOKENS_PER_PACK,
    ) -> Float32:
        """Scenario embeddings, all queries read off one pass over each user's prefix.

        Args:
            batch: B users.
            queries: S questions.
            scenarios: their scenarios' names, if soft prompts are to be used.
            tokens_per_pack: tokens that share a forward pass; does not change the result.

        Returns:
            L2-normalized embeddings, shape (B, S, E).

        Raises:
            ValueError: the batch does not fit the model, or there is no query.
        """
        check_batch(batch, self.config)
        model, serving = self._model, self._serving
        suffixes_QD, lengths = model.suffixes(queries, scenarios)
        gates_QS = model.gates(torch.split(suffixes_QD, lengths), serving.run)
        counts = model.prefix.count_topics(batch, serving.run)
        instruction_ID = model.instruction_rows()
        embeddings = np.empty((batch.num_users, len(queries), self.config.embedding_dim), dtype=np.float32)
        for users in _packs(model.prefix_lengths(batch) + sum(lengths), tokens_per_pack):
            known = [counts_BK[users] for counts_BK in counts]
            packed = model.prefix(batch.select(users), instruction_ID, suffixes_QD, serving.run, known)
            states_ND = serving.decode(packed.rows_TD, packed.prefix_lengths_B, lengths).flatten(0, 1)
            columns_NS = (packed.columns_BS[:, None] * gates_QS).flatten(0, 1)
            values = model.read(states_ND, columns_NS, serving.run)
            embeddings[users] = values.view(len(users), len(queries), -1).numpy(force=True)
        return embeddings


class _Serving:
    """A snapshot of a model's weights in the layout of the fast path."""

    def __init__(self, model: UserModel) -> None:
        backbone = model.backbone
        on_cpu = model.user_emb_D.device.type == "cpu"
        self._dtype = torch.bfloat16 if model.config.precision == "bfloat16" else torch.float32
        self._decoder = PackedDecoder(backbone, self._dtype) if on_cpu and is_supported(backbone.config) else None
        self._backbone = backbone
        self._head = model.head
        prefix = model.prefix
        adapters = [*prefix.event_topics, *prefix.event_adapters, *prefix.summary_projections, model.gate]
        adapters += [prefix.modality_adapter, prefix.user_adapter]
        self._packed = {adapter: pack_linears(adapter, ADAPTER_ROWS) for adapter in adapters}
        self._packed[model.head] = pack_linears(model.head, READ_ROWS)

    def run(self, module: nn.Module, rows: Tensor) -> Tensor:
        """Apply an adapter or the head in calls of a fixed number of rows."""
        return in_chunks(self._packed[module], rows, READ_ROWS if module is self._head else ADAPTER_ROWS)

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
