"""Cluster-based soft prompt tuning (arXiv 2602.14492, Eq. 7): learned tokens in the suffix, learned class centres.

Beside the tokens a scenario learns what the numbers of its question's counts are multiplied by. Everything else is
frozen. A user's prefix does not depend on the prompt, so its keys and values are computed once and kept, within a bound
of memory, for all steps and scenarios. What was learned is kept if it does better for users it was not learned from.
"""

# B users, P prefix rows, W suffix rows, N numbers of a question's counts, D model width, E embedding_dim

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from updater.domain.buckets import bucket_of
from updater.domain.training import Tuning
from updater.errors import ConfigError
from updater.model.anchored_counts import NUM_NUMBERS
from updater.model.batch import Int64
from updater.model.user_model import UserModel
from updater.training.losses import prototype_loss
from updater.training.profiles import Profiles

MOST_BYTES = 4_000_000_000
"""Keys and values that are kept; beyond it they are computed again."""
BLOCK = 16
"""Neighbouring rows of an anchor's profiles that are computed together, whoever of them is asked for, so that a result
does not depend on what else was tuned."""
CLASSES = 2
CENTRES_RATE = 0.1
"""Learning rate of the centres as a share of the prompt's: they begin where they are best."""
FIRST_USERS = 2048
"""Labelled users that the first centres are fitted to."""
FIRST_STEPS = 50
FIRST_DECAY = 0.02
"""Pulls the first centres to the classes' means; some labels are few."""
SHRINK = 10.0
"""Pull of prompt and gates to where they begin, over the number of labels."""
JUDGES = 5
"""One in so many users judges what was learned from the others."""
STANDARD_ERRORS = 2.0
"""By which the judges' loss has to fall for it to be kept."""

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class KeptPrefix:
    """What a question reads of a user."""

    layers: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (P, heads, head width)."""
    length: int
    """Rows of the prefix."""

    @property
    def num_bytes(self) -> int:
        """Of the keys and values."""
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


@dataclass(frozen=True)
class Labels:
    """What one scenario learns from: labelled users at anchor days, each under one question."""

    anchors: Sequence[date]
    rows: Int64
    """Row of each in its anchor's profiles."""
    questions: Sequence[str]
    classes: Int64
    """0 or 1."""

    def take(self, chosen: Int64) -> "Labels":
        """Those at `chosen`."""
        return Labels(
            [self.anchors[i] for i in chosen],
            self.rows[chosen],
            [self.questions[i] for i in chosen],
            self.classes[chosen],
        )


@dataclass(frozen=True)
class Tuned:
    """How the tuning of a scenario ended."""

    loss: float
    """Mean over the last tenth of the steps."""
    kept: bool
    """False if the prompt did no better for users who were not learned from, and the scenario goes without."""


class _Learned(nn.Module):
    """What a scenario learns. Without a prompt and with gates of 1 it says nothing."""

    def __init__(self, prompt: Tensor, num_gates: int, centres: Tensor) -> None:
        super().__init__()
        self.first = prompt
        self.prompt = nn.Parameter(prompt.clone())
        self.gates = nn.Parameter(torch.ones(num_gates))
        self.centres = nn.Parameter(centres)

    def distance(self) -> Tensor:
        """How far prompt and gates are from where they began."""
        moved = (self.prompt - self.first).square().sum() / self.first.square().sum().clamp(min=1e-9)
        return moved + (self.gates - 1).square().sum()


class PromptTuner:
    """Tunes scenarios of one model, one after the other."""

    def __init__(self, model: UserModel, profiles: Mapping[date, Profiles], options: Tuning) -> None:
        self._model = model.eval().requires_grad_(False)
        self._profiles = profiles
        self._options = options
        self._kept: dict[tuple[date, int], KeptPrefix] = {}
        self._bytes = 0
        self._asked: dict[tuple[date, int, str], tuple[Tensor, Tensor]] = {}

    def tune(self, scenario: str, labels: Labels, seed: int = 0, report: Report | None = None) -> Tuned:
        """Learn `soft_prompts`, `count_gates` and `prototypes` of a scenario, starting anew.

        A fifth of the users judges: if what was learned does not do better for them than the plain question, prompt
        and gates are left out, and the prototypes are those of the plain question.

        Raises:
            ConfigError: the labels hold one class only.
        """
        if len(np.unique(labels.classes)) < CLASSES:
            raise ConfigError(f"The labels of scenario {scenario!r} are all alike; choose other anchor days.")
        rng = np.random.default_rng((seed, len(labels.rows)))
        if self._options.labels:
            labels = labels.take(np.sort(rng.permutation(len(labels.rows))[: self._options.labels]))
        judge = self._judges(labels)
        learn, ask = labels.take(np.flatnonzero(~judge)), labels.take(np.flatnonzero(judge))
        # Of few labels those of one class may all be with the judges.
        learn = learn if len(np.unique(learn.classes)) == CLASSES else labels
        plain = self._first_centres(None, None, learn, rng)
        first = self._first_prompt(labels.questions[0])
        learned = _Learned(first, NUM_NUMBERS, self._first_centres(first, None, learn, rng))
        loss = self._learn(learned, learn, rng, report)
        kept = self._is_better(learned, plain, ask)
        for values in (self._model.soft_prompts, self._model.count_gates, self._model.prototypes):
            values.pop(scenario) if scenario in values else None
        self._model.prototypes[scenario] = _frozen(learned.centres if kept else plain)
        if kept:
            self._model.soft_prompts[scenario] = _frozen(learned.prompt)
            self._model.count_gates[scenario] = _frozen(learned.gates)
        return Tuned(loss, kept)

    def _learn(self, learned: _Learned, labels: Labels, rng: np.random.Generator, report: Report | None) -> float:
        options = self._options
        rates = {learned.prompt: 1.0, learned.gates: 1.0, learned.centres: CENTRES_RATE}
        optimiser = torch.optim.AdamW([{"params": [p]} for p in rates], weight_decay=0.0)
        losses: list[float] = []
        order = np.empty(0, dtype=np.int64)
        for step in range(options.steps):
            while len(order) < options.users_per_step:
                order = np.concatenate([order, rng.permutation(len(labels.rows))])
            chosen, order = order[: options.users_per_step], order[options.users_per_step :]
            for group, share in zip(optimiser.param_groups, rates.values(), strict=True):
                group["lr"] = options.learning_rate * share * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            embeddings = self.embed(learned.prompt, learned.gates, labels, chosen)
            classes = torch.from_numpy(labels.classes[chosen])
            loss = prototype_loss(embeddings, learned.centres, classes, temperature=options.temperature)
            optimiser.zero_grad()
            pulled: Tensor = loss + SHRINK / len(labels.rows) * learned.distance()
            pulled.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
            if report:
                report(step + 1, losses[-1])
        return float(np.mean(losses[-max(1, options.steps // 10) :]))

    def _judges(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """True for the labels of a fifth of the users, always the same ones."""
        users = (
            str(self._profiles[anchor].users[row]) for anchor, row in zip(labels.anchors, labels.rows, strict=True)
        )
        return np.array([bucket_of(f"judge:{user}", JUDGES) == 0 for user in users], dtype=bool)

    @torch.no_grad()
    def _is_better(self, learned: _Learned, plain: Tensor, ask: Labels) -> bool:
        """True if the judges' loss falls by more than chance makes it."""
        if len(ask.rows) < 2:
            return False
        classes = torch.from_numpy(ask.classes)
        temperature = self._options.temperature
        losses = [
            F.cross_entropy(self._embed_all(prompt, gates, ask) @ centres.T / temperature, classes, reduction="none")
            for prompt, gates, centres in ((None, None, plain), (learned.prompt, learned.gates, learned.centres))
        ]
        gains = losses[0] - losses[1]
        return bool(gains.mean() > STANDARD_ERRORS * gains.std() / math.sqrt(len(gains)))

    def embed(self, prompt: Tensor | None, gates: Tensor | None, labels: Labels, chosen: Int64) -> Tensor:
        """Embeddings of the labelled users at `chosen`, shape (B, E), with `prompt` before their questions and `gates`
        on their counts.
        """
        model = self._model
        ends_BD = self._ends(gates, labels, chosen)
        if model.backbone is None:
            return self._read(model.final_norm(ends_BD))
        before = [] if prompt is None else [prompt]
        words = {question: model.words([question], [])[0] for question in {labels.questions[i] for i in chosen}}
        suffixes = [
            torch.cat([*before, words[labels.questions[i]], end_D[None]])
            for i, end_D in zip(chosen, ends_BD, strict=True)
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
        return self._read(states[torch.arange(len(chosen)), ends])

    def _read(self, states: Tensor) -> Tensor:
        embeddings: Tensor = self._model.head(states)
        return embeddings

    def _embed_all(self, prompt: Tensor | None, gates: Tensor | None, labels: Labels) -> Tensor:
        everyone = np.arange(len(labels.rows))
        groups = np.array_split(everyone, -(-len(everyone) // self._options.users_per_step))
        return torch.cat([self.embed(prompt, gates, labels, group) for group in groups])

    def _ends(self, gates: Tensor | None, labels: Labels, chosen: Int64) -> Tensor:
        """What <USER_EMB> is given, (B, D)."""
        keys = [(labels.anchors[i], int(labels.rows[i]), labels.questions[i]) for i in chosen]
        for anchor, row, question in keys:
            if (anchor, row, question) not in self._asked:
                block = self._block(anchor, row)
                numbers_BSN, rest_BSD = self._model.taken_apart(self._profiles[anchor].batch(block), [question])
                for b, other in enumerate(block.tolist()):
                    self._asked[anchor, other, question] = numbers_BSN[b, 0], rest_BSD[b, 0]
        numbers_BN, rest_BD = (torch.stack(part) for part in zip(*(self._asked[key] for key in keys), strict=True))
        return self._model.put_together(numbers_BN if gates is None else numbers_BN * gates, rest_BD)

    def _prefixes(self, keys: Sequence[tuple[date, int]]) -> list[KeptPrefix]:
        found: dict[tuple[date, int], KeptPrefix] = {}
        for key in keys:
            if key in self._kept:
                found[key] = self._kept[key]
            elif key not in found:
                made = self._compute(*key)
                found |= made
                size = sum(prefix.num_bytes for prefix in made.values())
                if self._bytes + size <= MOST_BYTES:
                    self._kept |= made
                    self._bytes += size
        return [found[key] for key in keys]

    @torch.no_grad()
    def _compute(self, anchor: date, row: int) -> dict[tuple[date, int], KeptPrefix]:
        """The prefixes of a block."""
        block = self._block(anchor, row)
        packed = self._model.prefix_rows(self._profiles[anchor].batch(block))
        lengths = packed.prefix_lengths_B.tolist()
        # Padding comes last, so that no row of a prefix sees it.
        rows_BPD = nn.utils.rnn.pad_sequence(list(torch.split(packed.rows_TD, lengths)), batch_first=True)
        past = self._model.backbone.base_model(inputs_embeds=rows_BPD, use_cache=True).past_key_values
        made = {}
        for user, (other, length) in enumerate(zip(block.tolist(), lengths, strict=True)):
            # Copies, or the whole block would stay for one of its users.
            layers = [(_rows(layer.keys[user], length), _rows(layer.values[user], length)) for layer in past.layers]
            made[anchor, other] = KeptPrefix(layers, length)
        return made

    def _block(self, anchor: date, row: int) -> Int64:
        """The rows that are computed together with `row`."""
        start = row // BLOCK * BLOCK
        return np.arange(start, min(start + BLOCK, len(self._profiles[anchor].users)))

    def _first_prompt(self, question: str) -> Tensor:
        """The question's own first words, repeated if it is short: a prompt that says nothing new yet."""
        words, tokens = self._model.words([question], [])[0].detach(), self._options.tokens
        return words.repeat(tokens // max(1, len(words)) + 1, 1)[:tokens].clone()

    def _first_centres(
        self, prompt: Tensor | None, gates: Tensor | None, labels: Labels, rng: np.random.Generator
    ) -> Tensor:
        """The centres that tell the classes apart best before the prompt has moved, (K, E).

        From the classes' means they are fitted to a sample of users, or the prompt would first learn what centres can.
        """
        options = self._options
        sample = labels.take(rng.permutation(len(labels.rows))[:FIRST_USERS])
        with torch.no_grad():
            embeddings = self._embed_all(prompt, gates, sample)
        classes = torch.from_numpy(sample.classes)
        overall = embeddings.mean(dim=0)
        means = [embeddings[classes == k].mean(dim=0) if (classes == k).any() else overall for k in range(CLASSES)]
        first = torch.stack(means)
        centres = nn.Parameter(first.clone())
        optimiser = torch.optim.LBFGS([centres], max_iter=FIRST_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            fit = prototype_loss(embeddings, centres, classes, temperature=options.temperature)
            value: Tensor = fit + FIRST_DECAY * (centres - first).square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        return centres.detach()


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


def _rows(part: Tensor, length: int) -> Tensor:
    """The first rows of keys or values (heads, P, width) as (P, heads, width)."""
    return part[:, :length].transpose(0, 1).clone()


def _cache(prefixes: Sequence[KeptPrefix]) -> object:
    """Keys and values of users' prefixes, padded at the end, as a cache of their own."""
    from transformers import DynamicCache

    layers = []
    for layer in range(len(prefixes[0].layers)):
        parts = [[prefix.layers[layer][part] for prefix in prefixes] for part in (0, 1)]
        layers.append(tuple(nn.utils.rnn.pad_sequence(part, batch_first=True).transpose(1, 2) for part in parts))
    return DynamicCache(ddp_cache_data=layers)
