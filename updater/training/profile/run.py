"""`updater profile train`: from the lake to a model that keeps textual profiles, in two phases.

A run is named by what it learns from, as `updater model train` does: the same command again goes on with it, or finds
it done. Its directory has the training texts, the checkpoints of a phase that is under way, and what was seen.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from updater.domain.buckets import HELD_OUT
from updater.domain.fingerprint import fingerprint
from updater.errors import ConcurrentUpdateError
from updater.labels.events import open_events
from updater.lake import partitions
from updater.model.sources import file_digest, locate, weight_files
from updater.profile.language_model.prompt import updater_name
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.device import model_device
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.state_place import needs_directory
from updater.runtime.threads import one_thread
from updater.training.profile.card import updater_card
from updater.training.profile.examine import Seen, baseline, examine
from updater.training.profile.phases.policy import Policy, is_whole, open_policy, save_policy
from updater.training.profile.phases.reinforced import ChainRewards, reinforce
from updater.training.profile.phases.supervised import Trained, supervise
from updater.training.profile.phases.trainers import Budget, silent_and_private
from updater.training.profile.texts.gather import gather
from updater.training.runs import Run

METHOD_VERSION = 1
"""Raised whenever the same data and config give another model."""
SUPERVISED, REINFORCED = "supervised", "by rewards"
BEFORE = "before training"
TEXTS, REPORT = "texts.parquet", "report.json"


@dataclass(frozen=True)
class UpdaterReport:
    """A training of an updater, finished or stopped."""

    finished: bool
    model: str | None
    """Directory of the model; None while it is not finished."""
    base: str
    chains: int
    """Chains of users and days there were; each has two updates."""
    texts: int
    """Training texts that were left after validation."""
    steps: dict[str, int]
    """Done in each phase."""
    losses: dict[str, list[float]]
    """Per phase the loss of its first and its last step."""
    rewards: list[float]
    """Mean reward of the replies of each step of the second phase."""
    seen: dict[str, Seen]
    """What was seen of held-out users before training and after each phase."""
    rules_right: float | None
    """Share of the same choices that the texts by rules get right."""


@dataclass
class _Told:
    """What a run says of itself, kept beside its checkpoints."""

    steps: dict[str, int] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    rewards: list[float] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> "_Told":
        path = directory / REPORT
        if not path.exists():
            return cls()
        known = json.loads(path.read_text(encoding="utf-8"))
        seen = {name: Seen(**each) for name, each in known.pop("seen").items()}
        return cls(**known, seen=seen)

    def write(self, directory: Path) -> None:
        with partitions.write_file(str(directory / REPORT)) as file:
            file.write(json.dumps(asdict(self)).encode())


def train_updater(
    context: WritableContext, max_cpu_seconds: float | None = None, progress: Progress = no_progress
) -> UpdaterReport:
    """Train an updater and write it below `<state>/training/models`.

    A fifth of the users (`is_held_out`) is left out, and so are the days on which the model is examined. Run again
    after a kill, or after its budget was spent, it goes on from its last checkpoint.

    Args:
        context: the deployment.
        max_cpu_seconds: CPU time that training may use in this call, in seconds; None for as long as it takes.
        progress: called with what is done.

    Raises:
        ConfigError: there is no such model, or no training text is left.
        NotLandedError: the lake's days are too few.
        ConcurrentUpdateError: users were erased while their histories were read.
    """
    needs_directory(context.settings, "Training an updater of profiles")
    with one_thread(), silent_and_private():
        return _Training(context, Budget(max_cpu_seconds), progress).run()


class _Training:
    """One call of the command."""

    def __init__(self, context: WritableContext, budget: Budget, progress: Progress) -> None:
        self._options = context.settings.profile_training
        self._device = model_device(context.settings)
        self._context, self._budget, self._progress = context, budget, progress
        self._base = open_policy(self._options.model, self._device)
        with open_events(context, progress) as events:
            self._found = gather(context, events, self._base, progress)
        self._made = self._found.made
        recipe = fingerprint(METHOD_VERSION, repr(self._options), _weights(self._options.model), self._made.digest)
        self._run = Run.of(context, fingerprint("profile updater", recipe, updater_name(""), HELD_OUT))
        self._told = _Told.read(self._run.directory)

    def run(self) -> UpdaterReport:
        if not is_whole(self._run.model):
            self._keep_texts()
            self._look(self._base, BEFORE)
            first = self._phase(SUPERVISED, self._base, self._options.supervised_steps, self._supervise)
            last = first and self._phase(REINFORCED, first, self._options.reinforced_steps, self._reinforce)
            if last is None:
                return self._report()
            save_policy(last, self._run.model, self._card(last))
        for name in (SUPERVISED, REINFORCED):
            shutil.rmtree(self._directory(name), ignore_errors=True)
        return self._report()

    def _keep_texts(self) -> None:
        """Write the training texts where an erasure finds them. Raises ConcurrentUpdateError if one came before."""
        table = self._made.table()
        with StateLock(self._context, Lock.REWRITING).shared():
            if self._context.ledger.erased().among(set(table["user_id"].to_pylist())):
                raise ConcurrentUpdateError(
                    "Users were erased while this ran; run the same command again.", cause="erasure"
                )
            partitions.write_table(str(self._run.directory / TEXTS), table)

    def _phase(self, name: str, policy: Policy, steps: int, train: Callable[[Policy, Path], Trained]) -> Policy | None:
        """The model after a phase; None if the budget was spent before its end."""
        if not steps:
            return policy
        directory = self._directory(name)
        done = directory / "model"
        if not is_whole(done):
            trained = train(policy, directory)
            self._told.steps[name] = trained.steps
            self._told.losses[name] = [round(trained.numbers[place]["loss"], 6) for place in (0, -1)]
            if name == REINFORCED:
                self._told.rewards = [round(step["reward"], 6) for step in trained.numbers]
            self._told.write(self._run.directory)
            if trained.steps < steps:
                return None
            save_policy(trained.policy, done, f"After the phase {name!r}.\n")
        after = open_policy(str(done), self._device)
        self._look(after, f"after the phase {name}")
        return after

    def _directory(self, phase: str) -> Path:
        """For a phase's checkpoints and the model after it; removed when the run is done."""
        return self._run.directory / phase.replace(" ", "-")

    def _supervise(self, policy: Policy, directory: Path) -> Trained:
        pairs = [(prompt, text.reply) for prompt, text in zip(self._made.prompts, self._made.texts, strict=True)]
        return supervise(policy, pairs, self._options, directory, self._budget, self._progress, self._device)

    def _reinforce(self, policy: Policy, directory: Path) -> Trained:
        rewards = ChainRewards(self._made.updates, self._made.chains, self._found.limits, self._options)
        return reinforce(
            policy, self._made.prompts, rewards, self._options, directory, self._budget, self._progress, self._device
        )

    def _look(self, policy: Policy, name: str) -> None:
        if name not in self._told.seen:
            self._told.seen[name] = examine(
                policy, self._found.examined, self._found.limits, self._options, self._progress, f"examining {name}"
            )
            self._told.write(self._run.directory)

    def _card(self, policy: Policy) -> str:
        size = sum(parameter.numel() for parameter in policy.network.parameters())
        told, rules = self._told, baseline(self._found.examined)
        return updater_card(self._options, self._found.plan, size, len(self._made.texts), told.steps, told.seen, rules)

    def _report(self) -> UpdaterReport:
        is_done = is_whole(self._run.model)
        return UpdaterReport(
            finished=is_done,
            model=str(self._run.model) if is_done else None,
            base=self._options.model,
            chains=self._made.num_chains,
            texts=len(self._made.texts),
            **vars(self._told),
            rules_right=baseline(self._found.examined).right,
        )


def _weights(model: str) -> list[str]:
    source = locate(model)
    return [file_digest(path) for path in ([source] if source.is_file() else weight_files(source))]
