"""Cluster-based soft prompt tuning (arXiv 2602.14492, Eq. 7): learned tokens in the suffix, learned class centres.

Beside the tokens a scenario learns where its question lies among the texts that it counts: what is added to the
question's key. Everything else is frozen. A user's prefix does not depend on the prompt, so its keys and values are
computed once and kept, within a bound of memory, for all steps and scenarios. What was learned is kept if it does
better for users it was not learned from.
"""

# B users, P prefix rows, W suffix rows, H width of a key, D model width, E embedding_dim

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from updater.domain.buckets import bucket_of
from updater.domain.declared.training import Tuning
from updater.errors import ConfigError
from updater.model.layouts.anchored_layout import AnchoredLayout
from updater.model.user_model import UserModel
from updater.training.paper.losses import prototype_loss
from updater.training.profiles import Profiles
from updater.training.tuning.labelled_users import LabelledUsers, Labels

CLASSES = 2
CENTRES_RATE = 0.1
"""Learning rate of the centres as a share of the prompt's: they begin where they are best."""
FIRST_USERS = 2048
"""Labelled users that the first centres are fitted to."""
FIRST_STEPS = 50
FIRST_DECAY = 0.02
"""Pulls the first centres to the classes' means; some labels are few."""
SHRINK = 10.0
"""Pull of prompt and shift to where they begin, over the number of labels."""
VALIDATION_FOLDS = 5
"""One in so many users validates what was learned from the others."""
STANDARD_ERRORS = 2.0
"""By which the validation loss has to fall for it to be kept."""

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class Tuned:
    """How the tuning of a scenario ended."""

    loss: float
    """Mean over the last tenth of the steps."""
    kept: bool
    """False if the prompt did no better for users who were not learned from, and the scenario goes without."""


class _Learned(nn.Module):
    """What a scenario learns. Without a prompt and with a shift of zeros it says nothing."""

    def __init__(self, prompt: Tensor, shift: Tensor, centres: Tensor) -> None:
        super().__init__()
        self.first = prompt
        self.prompt = nn.Parameter(prompt.clone())
        self.shift = nn.Parameter(shift)
        self.centres = nn.Parameter(centres)

    def distance(self) -> Tensor:
        """How far prompt and shift are from where they began."""
        moved = (self.prompt - self.first).square().sum() / self.first.square().sum().clamp(min=1e-9)
        return moved + self.shift.square().sum()


class PromptTuner:
    """Tunes scenarios of one model, one after the other."""

    def __init__(self, model: UserModel, profiles: Mapping[date, Profiles], options: Tuning) -> None:
        self._model = model.eval().requires_grad_(False)
        self._users = LabelledUsers(model, profiles)
        self._options = options

    def tune(self, scenario: str, labels: Labels, seed: int = 0, report: Report | None = None) -> Tuned:
        """Learn `soft_prompts`, `question_shifts` and `prototypes` of a scenario, starting anew.

        A fifth of the users validates: if what was learned does not do better for them than the plain question, prompt
        and shift are left out, and the prototypes are those of the plain question. A model without layers learns no
        prompt that says anything, and one of the paper's layout no shift.

        Raises:
            ConfigError: the labels hold one class only.
        """
        if len(np.unique(labels.classes)) < CLASSES:
            raise ConfigError(f"The labels of scenario {scenario!r} are all alike; choose other anchor days.")
        rng = np.random.default_rng((seed, len(labels.rows)))
        if self._options.labels:
            labels = labels.take(np.sort(rng.permutation(len(labels.rows))[: self._options.labels]))
        held_back = self._held_back(labels)
        learn, validate = labels.take(np.flatnonzero(~held_back)), labels.take(np.flatnonzero(held_back))
        # Of few labels those of one class may all be held back.
        learn = learn if len(np.unique(learn.classes)) == CLASSES else labels
        plain = self._first_centres(None, None, learn, rng)
        first = self._first_prompt(labels.questions[0])
        learned = _Learned(first, self._no_shift(), self._first_centres(first, None, learn, rng))
        loss = self._learn(learned, learn, rng, report)
        kept = self._is_better(learned, plain, validate)
        for values in (self._model.soft_prompts, self._model.question_shifts, self._model.prototypes):
            values.pop(scenario) if scenario in values else None
        self._model.prototypes[scenario] = _frozen(learned.centres if kept else plain)
        if kept:
            self._model.soft_prompts[scenario] = _frozen(learned.prompt)
            if len(learned.shift):
                self._model.question_shifts[scenario] = _frozen(learned.shift)
        return Tuned(loss, kept)

    def _learn(self, learned: _Learned, labels: Labels, rng: np.random.Generator, report: Report | None) -> float:
        options = self._options
        rates = {learned.prompt: 1.0, learned.shift: 1.0, learned.centres: CENTRES_RATE}
        optimizer = torch.optim.AdamW([{"params": [p]} for p in rates], weight_decay=0.0)
        losses: list[float] = []
        order = np.empty(0, dtype=np.int64)
        for step in range(options.steps):
            while len(order) < options.users_per_step:
                order = np.concatenate([order, rng.permutation(len(labels.rows))])
            chosen, order = order[: options.users_per_step], order[options.users_per_step :]
            for group, share in zip(optimizer.param_groups, rates.values(), strict=True):
                group["lr"] = options.learning_rate * share * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            embeddings = self._users.embed(learned.prompt, learned.shift, labels, chosen)
            classes = torch.from_numpy(labels.classes[chosen]).to(embeddings.device)
            loss = prototype_loss(embeddings, learned.centres, classes, temperature=options.temperature)
            optimizer.zero_grad()
            pulled: Tensor = loss + SHRINK / len(labels.rows) * learned.distance()
            pulled.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            if report:
                report(step + 1, losses[-1])
        return float(np.mean(losses[-max(1, options.steps // 10) :]))

    def _held_back(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """True for the labels of a fifth of the users, always the same ones."""
        users = [self._users.user(labels, position) for position in range(len(labels.rows))]
        # Another salt would hold back other users, and so change what a tuning learns.
        return np.array([bucket_of(f"judge:{user}", VALIDATION_FOLDS) == 0 for user in users], dtype=bool)

    @torch.no_grad()
    def _is_better(self, learned: _Learned, plain: Tensor, validate: Labels) -> bool:
        """True if the validation loss falls by more than chance makes it."""
        if len(validate.rows) < 2:
            return False
        classes = torch.from_numpy(validate.classes).to(plain.device)
        temperature = self._options.temperature
        losses = [
            F.cross_entropy(self._embed(prompt, shift, validate) @ centres.T / temperature, classes, reduction="none")
            for prompt, shift, centres in ((None, None, plain), (learned.prompt, learned.shift, learned.centres))
        ]
        gains = losses[0] - losses[1]
        return bool(gains.mean() > STANDARD_ERRORS * gains.std() / math.sqrt(len(gains)))

    def _embed(self, prompt: Tensor | None, shift: Tensor | None, labels: Labels) -> Tensor:
        return self._users.embed_all(prompt, shift, labels, self._options.users_per_step)

    def _no_shift(self) -> Tensor:
        """Zeros as wide as a question's key; of no width where questions count nothing."""
        layout = self._model.layout
        width = layout.counts.question_keys.linear.out_features if isinstance(layout, AnchoredLayout) else 0
        return torch.zeros(width, device=self._model.user_emb_D.device)

    def _first_prompt(self, question: str) -> Tensor:
        """The question's own first words, repeated if it is short: a prompt that says nothing new yet."""
        words, tokens = self._model.words([question], [])[0].detach(), self._options.tokens
        return words.repeat(tokens // max(1, len(words)) + 1, 1)[:tokens].clone()

    def _first_centres(
        self, prompt: Tensor | None, shift: Tensor | None, labels: Labels, rng: np.random.Generator
    ) -> Tensor:
        """The centres that separate the classes best before the prompt has moved, (K, E).

        From the classes' means they are fitted to a sample of users, or the prompt would first learn what centres can.
        """
        options = self._options
        sample = labels.take(rng.permutation(len(labels.rows))[:FIRST_USERS])
        with torch.no_grad():
            embeddings = self._embed(prompt, shift, sample)
        classes = torch.from_numpy(sample.classes).to(embeddings.device)
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


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)
