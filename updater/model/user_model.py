"""The user model: users and questions in, one embedding per user and question out."""

# B users, S questions, W words of a question, D model width, X text_dim, E embedding_dim

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize

from updater.errors import ConfigError
from updater.model.batch import Float32, Int64, UserBatch
from updater.model.config import ModelConfig
from updater.model.layers.event_adapter import LinearResidualMLP
from updater.model.layers.own_answers import OwnAnswers
from updater.model.layers.reference import Read, read_suffixes
from updater.model.layers.training_pass import read_suffixes_together
from updater.model.layouts.anchored_counts import sum_padded
from updater.model.layouts.anchored_layout import AnchoredLayout
from updater.model.layouts.layout import Add, Layout, PackedRows, Run, run_module
from updater.model.layouts.paper_layout import PaperLayout
from updater.model.question_vectors import QuestionVectors

NORM_EPS = 1e-6
TRAINED_TEXTS = 80
"""Texts of a user that are tokens in training, where a longer prefix costs much; all are counted."""


class EmbeddingHead(LinearResidualMLP):
    """Linear, ReLU, Linear (as in the code of arXiv 2602.14492) beside a linear map, then L2 normalization.

    With a `constant`, the last number of a reading is not read but that constant. Brought to length 1, a vector of
    numbers loses how long it was; the constant keeps it: it is small where they were large.
    """

    def __init__(self, width: int, hidden_dim: int, embedding_dim: int, constant: float = 0.0) -> None:
        super().__init__(width, hidden_dim, embedding_dim - bool(constant), nn.ReLU())
        self.constant = constant

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states (…, D) to embeddings of length 1 (…, E)."""
        return normalize(self.read(states), dim=-1)

    def read(self, states: Tensor) -> Tensor:
        """The same before they are brought to length 1."""
        y = super().forward(states)
        return nn.functional.pad(y, (0, 1), value=self.constant) if self.constant else y


class UserModel(nn.Module):
    """Query-conditioned user encoder (arXiv 2602.14492: prefix first, query last, read at <USER_EMB>).

    `forward` is differentiable; `InferenceModel` computes the same on packed weights. Both give an embedding of a user
    that does not depend on the other users; from the latter not in a single bit, with a packed decoder on a CPU.
    """

    def __init__(self, config: ModelConfig, backbone: Any, tokenizer: Tokenizer) -> None:
        """Wrap a Hugging Face causal language model, or none.

        Args:
            config: the model's shape.
            backbone: the language model; None for the backbone `none`.
            tokenizer: of its words.

        Raises:
            ConfigError: the longest possible prefix does not fit into the backbone's positions, or the paper's layout
                is to do without a backbone.
        """
        super().__init__()
        width = config.backbone_config["hidden_size"]
        self.config = config
        self.tokenizer = tokenizer
        self.backbone = backbone
        self.questions = QuestionVectors(config.text_encoder, config.text_encoder_version)
        self.layout: Layout = (
            AnchoredLayout(config, width)
            if config.layout == "anchored"
            else PaperLayout(config, width, self._instruction)
        )
        self.user_emb_D = nn.Parameter(torch.randn(width) * 0.02)
        self.soft_prompts = nn.ParameterDict()
        """Per scenario name learned tokens in front of its query, shape (tokens, D)."""
        self.prototypes = nn.ParameterDict()
        """Per scenario name the learned centre of each class, shape (classes, embedding_dim)."""
        self.question_shifts = nn.ParameterDict()
        """Per scenario name what is added to its question's key, by which texts are counted, shape (KEY_DIM,)."""
        self.answers: nn.Linear | None = None
        """From a question's vector to where embeddings lie of users to whose first answer it is yes, (X) to (E): what
        training on dense labels learns beside the model. None in a model that was not trained so.
        """
        self.own_answers: OwnAnswers | None = None
        """From an embedding to the answers of its own question, kept by the same training; None in a model without."""
        self.norm = nn.RMSNorm(width, eps=NORM_EPS) if backbone is None else None
        """What stands for the backbone's last norm where there is none."""
        # About as long as what is read beside it, whose numbers begin with a mean square of 1.
        constant = config.embedding_dim**0.5 if config.layout == "anchored" else 0.0
        self.head = EmbeddingHead(width, config.head_dim, config.embedding_dim, constant)
        self._check_positions()

    def _check_positions(self) -> None:
        config = self.config
        if self.backbone is None:
            if config.layout == "paper":
                raise ConfigError('model.layout "paper" needs a language model; set model.backbone to one.')
            return
        longest, lower = 1 + len(config.modalities) + config.max_texts, "model.max_texts"
        if config.layout == "paper":
            longest = len(self.token_ids(config.instruction)) + 1 + sum(2 + m.max_events for m in config.modalities)
            lower = "max_events of the modalities"
        if longest >= self.backbone.config.max_position_embeddings:
            raise ConfigError(
                f"A user prefix can take {longest} tokens, backbone {config.backbone!r} has "
                f"{self.backbone.config.max_position_embeddings} positions; lower {lower}."
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

    @property
    def tuned_scenarios(self) -> list[str]:
        """Scenarios that learned something of their own: a soft prompt, or a shift of the question."""
        return sorted({*self.soft_prompts, *self.question_shifts})

    def fit(self, batches: Iterable[UserBatch], questions: Sequence[str]) -> None:
        """Fit what is not learned to training users and questions: means, deviations, first maps of the counts.

        A model of the paper's layout has nothing of the kind.
        """
        if isinstance(self.layout, AnchoredLayout):
            self.layout.fit(batches, torch.from_numpy(self.questions(questions)))

    def forward(self, batch: UserBatch, queries: Sequence[str], scenarios: Sequence[str] = ()) -> Tensor:
        """Embeddings with autograd, one user at a time. Arguments and result as in `embed`."""
        embeddings: Tensor = self.head(self._states(batch, queries, scenarios, read_suffixes))
        return embeddings

    def train_forward(self, batch: UserBatch, queries: Sequence[str], *, layers: bool = True) -> Tensor:
        """Readings of the head, not normalized, of all users at once, with autograd: shape (B, S, E).

        Args:
            batch: B users.
            queries: S questions.
            layers: False to leave out the backbone's layers.
        """
        read = read_suffixes_together if layers else None
        return self.head.read(self._states(batch, queries, (), read, TRAINED_TEXTS))

    def _states(
        self,
        batch: UserBatch,
        queries: Sequence[str],
        scenarios: Sequence[str],
        read: Read | None,
        most_texts: int | None = None,
    ) -> Tensor:
        """Hidden states at <USER_EMB> (B, S, D); without layers if there is no `read` or no backbone."""
        users = self.layout.users(batch)
        ends_BSD = self.ends(users, queries, scenarios)
        if read is None or self.backbone is None:
            return self.final_norm(ends_BSD)
        words = self.words(queries, scenarios)
        packed = self.layout.rows(users, words, ends_BSD, most_texts=most_texts)
        return read(self.backbone, packed.rows_TD, packed.prefix_lengths_B, [len(each) + 1 for each in words])

    def ends(
        self,
        users: Any,
        queries: Sequence[str],
        scenarios: Sequence[str] = (),
        run: Run = run_module,
        add: Add = sum_padded,
    ) -> Tensor:
        """What stands at <USER_EMB>, per user (as `layout.users` knows them) and question: shape (B, S, D)."""
        questions_SX = self.question_vectors(queries)
        shifts = [
            self.question_shifts[scenarios[i]] if i < len(scenarios) and scenarios[i] in self.question_shifts else None
            for i in range(len(queries))
        ]
        return self.user_emb_D + self.layout.ends(users, questions_SX, shifts, run, add)

    def final_norm(self, states: Tensor) -> Tensor:
        """What comes after the layers, for states that have not been through them."""
        normed: Tensor = (self.backbone.base_model.norm if self.norm is None else self.norm)(states)
        return normed

    def embed(
        self,
        batch: UserBatch,
        queries: Sequence[str],
        scenarios: Sequence[str] = (),
        *,
        tokens_per_pack: int | None = None,
    ) -> Float32:
        """As `InferenceModel.embed`, with the weights packed for this call: for a model that is still being trained."""
        from updater.model.inference import InferenceModel

        return InferenceModel(self).embed(batch, queries, scenarios, tokens_per_pack=tokens_per_pack)

    def prefix_rows(self, batch: UserBatch) -> PackedRows:
        """Input embeddings of the users' prefixes alone, with autograd."""
        nothing = self.user_emb_D.new_zeros(batch.num_users, 0, len(self.user_emb_D))
        return self.layout.rows(self.layout.users(batch), [], nothing)

    def prefix_lengths(self, batch: UserBatch) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        return self.layout.lengths(self.layout.users(batch))

    @torch.no_grad()
    def question_vectors(self, queries: Sequence[str]) -> Tensor:
        """Questions by the frozen text encoder, less the mean of the training questions, shape (S, X); length 1.

        The paper's layout does not need them, and its vectors have no numbers: shape (S, 0).
        """
        if not queries:
            raise ValueError("queries is empty; ask at least one.")
        if not isinstance(self.layout, AnchoredLayout):
            return self.user_emb_D.new_zeros(len(queries), 0)
        vectors = torch.from_numpy(self.questions(queries)).to(self.user_emb_D.device)
        centred: Tensor = self.layout.question_centring(vectors)
        return centred

    def words(self, queries: Sequence[str], scenarios: Sequence[str]) -> list[Tensor]:
        """Input embeddings of each question's words, soft prompts in front, shapes (W, D); none without a backbone."""
        if self.backbone is None:
            return [self.user_emb_D.new_zeros(0, len(self.user_emb_D)) for _ in queries]
        ids = [self.token_ids(query) for query in queries]
        # One lookup for all of them: each costs a gradient as large as the vocabulary.
        found = list(torch.split(self.embed_ids([token for each in ids for token in each]), [*map(len, ids)]))
        for i, rows in enumerate(found):
            if i < len(scenarios) and scenarios[i] in self.soft_prompts:
                found[i] = torch.cat([self.soft_prompts[scenarios[i]], rows])
        return found

    def token_ids(self, text: str) -> list[int]:
        """Tokens of a question or an answer, without special ones."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def embed_ids(self, ids: list[int]) -> Tensor:
        """Input embeddings of tokens, shape (tokens, D)."""
        embedding = self.backbone.get_input_embeddings()
        result: Tensor = embedding(torch.tensor(ids, dtype=torch.long, device=self.user_emb_D.device))
        return result

    def _instruction(self) -> Tensor:
        return self.embed_ids(self.token_ids(self.config.instruction))
