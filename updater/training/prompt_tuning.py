"""Cluster-based soft prompt tuning (arXiv 2602.14492, Eq. 7): learned tokens in the suffix, learned class centres.

Everything else is frozen. A user's prefix does not depend on the prompt, so its keys and values are computed once and
kept, within a bound of memory, for all steps and scenarios.
"""

# B users, P prefix rows, W suffix rows, S summary columns, D model width, E embedding_dim

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor, nn

from updater.domain.training import Tuning
from updater.errors import ConfigError
from updater.model.batch import Int64
from updater.model.user_model import UserModel
from updater.training.losses import prototype_loss
from updater.training.profiles import Profiles
from updater.training.towers import pad_prefixes

MOST_BYTES = 4_000_000_000
"""Keys and values that are kept; beyond it they are computed again."""
CLASSES = 2
CENTRES_RATE = 0.1
"""Learning rate of the centres as a share of the prompt's: they begin where they are best."""
FIRST_USERS = 2048
"""Labelled users that the first centres are fitted to."""
FIRST_STEPS = 50
FIRST_DECAY = 0.02
"""Pulls the first centres to the classes' means; some labels are few."""

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class KeptPrefix:
    """What a question reads of a user."""

    layers: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (P, heads, head width)."""
    columns_S: Tensor
    """The user's columns, which the question weighs for the head."""

    @property
    def length(self) -> int:
        """Rows of the prefix."""
        return len(self.layers[0][0])

    @property
    def num_bytes(self) -> int:
        """Of the keys and values."""
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


@dataclass(frozen=True)
class Labels:
    """What one scenario learns from: N labelled users at anchor days, each under one question."""

    anchors: Sequence[date]
    rows: Int64
    """Row of each in its anchor's profiles."""
    questions: Sequence[str]
    classes: Int64
    """0 or 1."""


class PromptTuner:
    """Tunes scenarios of one model, one after the other."""

    def __init__(self, model: UserModel, profiles: Mapping[date, Profiles], options: Tuning) -> None:
        self._model = model.eval().requires_grad_(False)
        self._profiles = profiles
        self._options = options
        self._kept: dict[tuple[date, int], KeptPrefix] = {}
        self._bytes = 0

    def tune(self, scenario: str, labels: Labels, seed: int = 0, report: Report | None = None) -> float:
        """Learn `soft_prompts[scenario]` and `prototypes[scenario]`, starting anew.

        Returns:
            The mean loss of the last tenth of the steps.

        Raises:
            ConfigError: the labels hold one class only.
        """
        options, model = self._options, self._model
        if len(np.unique(labels.classes)) < CLASSES:
            raise ConfigError(f"The labels of scenario {scenario!r} are all alike; choose other anchor days.")
        rng = np.random.default_rng((seed, len(labels.rows)))
        prompt = nn.Parameter(self._first_prompt(labels.questions[0], options.tokens))
        centres = nn.Parameter(self._first_centres(prompt, labels, rng))
        rates = {prompt: options.learning_rate, centres: options.learning_rate * CENTRES_RATE}
        optimizer = torch.optim.AdamW([{"params": [p]} for p in rates], weight_decay=0.0)
        losses: list[float] = []
        order = np.empty(0, dtype=np.int64)
        for step in range(options.steps):
            if len(order) < options.users_per_step:
                order = np.concatenate([order, rng.permutation(len(labels.rows))])
            chosen, order = order[: options.users_per_step], order[options.users_per_step :]
            for group, rate in zip(optimizer.param_groups, rates.values(), strict=True):
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            embeddings = self.embed(prompt, labels, chosen)
            classes = torch.from_numpy(labels.classes[chosen])
            loss = prototype_loss(embeddings, centres, classes, temperature=options.temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            if report:
                report(step + 1, losses[-1])
        model.soft_prompts[scenario] = nn.Parameter(prompt.detach(), requires_grad=False)
        model.prototypes[scenario] = nn.Parameter(centres.detach(), requires_grad=False)
        return float(np.mean(losses[-max(1, options.steps // 10) :]))

    def embed(self, prompt: Tensor, labels: Labels, chosen: Int64) -> Tensor:
        """Embeddings of the labelled users at `chosen` with `prompt` before their questions, shape (B, E)."""
        model = self._model
        suffixes = [
            torch.cat([prompt, model.embed_ids(model.token_ids(labels.questions[i])), model.user_emb_D[None]])
            for i in chosen
        ]
        suffix_BWD = nn.utils.rnn.pad_sequence(suffixes, batch_first=True)
        prefixes = self._prefixes([(labels.anchors[i], int(labels.rows[i])) for i in chosen])
        lengths = [prefix.length for prefix in prefixes]
        longest, width = max(lengths), suffix_BWD.shape[1]
        prefix_seen = torch.arange(longest) < torch.tensor(lengths)[:, None]
        seen = torch.cat(
            [
                prefix_seen[:, None].expand(-1, width, -1),
                torch.ones(width, width, dtype=torch.bool).tril().expand(len(chosen), -1, -1),
            ],
            dim=2,
        )
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        states = model.backbone.base_model(
            inputs_embeds=suffix_BWD,
            attention_mask=mask[:, None],
            position_ids=torch.tensor(lengths)[:, None] + torch.arange(width),
            past_key_values=_cache(prefixes),
            use_cache=True,
        ).last_hidden_state
        ends = torch.tensor([len(suffix) - 1 for suffix in suffixes])
        columns_BS = torch.stack([prefix.columns_S for prefix in prefixes]) * model.gates(suffixes)
        return model.read(states[torch.arange(len(chosen)), ends], columns_BS)

    def _prefixes(self, keys: Sequence[tuple[date, int]]) -> list[KeptPrefix]:
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        found.update(zip(missing, self._compute(missing), strict=True))
        for key in missing:
            if self._bytes + found[key].num_bytes <= MOST_BYTES:
                self._kept[key] = found[key]
                self._bytes += found[key].num_bytes
        return [found[key] for key in keys]

    @torch.no_grad()
    def _compute(self, keys: Sequence[tuple[date, int]]) -> list[KeptPrefix]:
        made = []
        for anchor, row in keys:
            prefix_1PD, _, columns_1S = pad_prefixes(self._model, self._profiles[anchor].batch(np.array([row])))
            past = self._model.backbone.base_model(inputs_embeds=prefix_1PD, use_cache=True).past_key_values
            layers = [(layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1)) for layer in past.layers]
            made.append(KeptPrefix(layers, columns_1S[0]))
        return made

    def _first_prompt(self, question: str, tokens: int) -> Tensor:
        """The question's own first words, repeated if it is short: a prompt that says nothing new yet."""
        ids = self._model.token_ids(question)
        repeated = (ids * (tokens // max(1, len(ids)) + 1))[:tokens]
        return self._model.embed_ids(repeated).detach().clone()

    def _first_centres(self, prompt: Tensor, labels: Labels, rng: np.random.Generator) -> Tensor:
        """The centres that tell the classes apart best before the prompt has moved, (K, E).

        From the classes' means they are fitted to a sample of users, or the prompt would first learn what centres can.
        """
        options = self._options
        sample = rng.permutation(len(labels.rows))[:FIRST_USERS]
        groups = np.array_split(sample, -(-len(sample) // options.users_per_step))
        with torch.no_grad():
            embeddings = torch.cat([self.embed(prompt, labels, group) for group in groups])
        classes = torch.from_numpy(labels.classes[sample])
        overall = embeddings.mean(dim=0)
        means = [embeddings[classes == k].mean(dim=0) if (classes == k).any() else overall for k in range(CLASSES)]
        first = torch.stack(means)
        centres = nn.Parameter(first.clone())
        optimizer = torch.optim.LBFGS([centres], max_iter=FIRST_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            fit = prototype_loss(embeddings, centres, classes, temperature=options.temperature)
            value: Tensor = fit + FIRST_DECAY * (centres - first).square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return centres.detach()


def _cache(prefixes: Sequence[KeptPrefix]) -> object:
    """Keys and values of users' prefixes, padded at the end, as a cache of their own."""
    from transformers import DynamicCache

    layers = []
    for layer in range(len(prefixes[0].layers)):
        parts = [[prefix.layers[layer][part] for prefix in prefixes] for part in (0, 1)]
        layers.append(tuple(nn.utils.rnn.pad_sequence(part, batch_first=True).transpose(1, 2) for part in parts))
    return DynamicCache(ddp_cache_data=layers)
