"""Ablations: the model trained with one part taken away or changed, beside a base of as many steps.

That is a twelfth of the full number, and half of the anchor days. Those of another seed say how much that alone moves.
All are evaluated on the same rows of a dozen of the tasks: probes of the last two training anchors at one penalty, and
the validation anchor reported, so that whatever is decided by them, the test anchors know nothing of it.
"""

import copy
import dataclasses
import json
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from benchmarks.quality.adding import add, say
from benchmarks.quality.variants import BASE, STEPS, VARIANTS, Variant
from updater.domain.fingerprint import fingerprint
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.html import with_ablations
from updater.evaluation.report import make_ablations
from updater.evaluation.systems.compared import Candidate
from updater.labels.events import open_events
from updater.model.checkpoint import CONFIG, create_model, save_model
from updater.model.config import create_config
from updater.model.user_model import UserModel
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.threads import one_thread
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.build import plan_build
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.loop import remove_stages, train_dense
from updater.training.dense.train import fitted_to, read_answers
from updater.training.fitting import standardized
from updater.training.runs import METHOD_VERSION, training_layout

HERE = Path(__file__).parent
ANCHOR_EVERY_DAYS = 14
FIRST, FITTED = "initial weights", "fitted, without a step"
ROWS = (*VARIANTS, FITTED, FIRST)


def run_ablations(
    context: WritableContext,
    pool: ProcessPool,
    report: Path,
    page: Path,
    progress: Progress,
    only: Collection[str] = (),
) -> None:
    """Train the variants one after the other on one table of answers, evaluate them, and add them to a report.

    What was trained or embedded before is not done again.

    Args:
        context: the deployment of configs/quality.toml.
        pool: what embeds users.
        report: the JSON to add to.
        page: the page to add to.
        progress: called as work is done.
        only: names of rows to add; all if empty.
    """
    settings = small(context.settings)
    context = open_writable(settings, context.now)
    asked = [row for row in ROWS if row in {BASE, *(only or ROWS)}]
    with one_thread():
        models = _Models(context, progress)
        directories = {}
        for row in asked:
            directories[row] = models.directory(row)
            progress("training variants", len(directories), len(asked))
    candidate = Candidate(directories.pop(BASE), models=directories)
    with open_events(context, progress) as events, Scratch(settings) as scratch:
        evaluation_set = load_evaluation_set(events, "validation")
        scored = evaluate_systems(context, pool, events, evaluation_set, candidate, [BASE], scratch, progress)[1]
    made = make_ablations(scored, dict.fromkeys(scored, BASE), settings.evaluation.bootstrap, settings.model.seed)
    known = json.loads(report.read_text())["ablations"] | made
    found = {row: known[row] for row in ROWS if row in known}
    add(report, "ablations", found)
    page.write_text(with_ablations(page.read_text(), found))
    for row, values in made.items():
        say(row, values)


def small(settings: Settings) -> Settings:
    """The same deployment with the budget and the tasks of an ablation."""
    training = dataclasses.replace(
        settings.training, steps=STEPS, layers_steps=STEPS, anchor_every_days=ANCHOR_EVERY_DAYS, processes=1
    )
    evaluated = settings.evaluation
    evaluated = dataclasses.replace(
        evaluated, tasks=str(HERE / "ablations.toml"), train=evaluated.train[-2:], paraphrases=0
    )
    return dataclasses.replace(settings, training=training, evaluation=evaluated)


class _Models:
    """Directories of the variants' models, which are made if they are not there."""

    def __init__(self, context: WritableContext, progress: Progress) -> None:
        self._context, self._progress = context, progress
        self._fitted: dict[tuple[int, str], UserModel] = {}
        events = context.all_event_files(plan_build(context.settings).last)
        # Names of event files identify what is in them, at less cost than counting it.
        files = {name: [(str(file.ds), file.path.rpartition("/")[2]) for file in each] for name, each in events.items()}
        self._data = fingerprint(METHOD_VERSION, files, repr(context.settings.training))

    @cached_property
    def _table(self) -> DenseTable:
        return read_answers(self._context, self._progress)

    def directory(self, row: str) -> str:
        """That of a row."""
        name = fingerprint(self._data, row)[:12]
        target = Path(training_layout(self._context).trained_model(f"ablation-{name}"))
        if not (target / CONFIG).exists():
            save_model(self._make(row, target.with_name(f"{target.name}-run")), target)
        return str(target)

    def _make(self, row: str, run: Path) -> UserModel:
        if row in (FITTED, FIRST):
            fitted = self._fit(Variant())
            return fitted if row == FITTED else create_model(fitted.config)
        variant = VARIANTS[row]
        options = dataclasses.replace(self._context.settings.training, seed=self._seed(variant), **variant.training)
        model = copy.deepcopy(self._fit(variant))
        if variant.model:
            variant.model(model)
        table = variant.table(self._table) if variant.table else self._table
        with variant.in_force():
            trained = train_dense(
                model,
                table,
                options,
                run,
                fingerprint(self._data, repr(options), row),
                report=lambda step, losses: self._progress(
                    f"{row} (loss {losses['answers']:.3f})", step, options.steps
                ),
            )
        remove_stages(run)
        print(f"{row}: {trained}", flush=True)
        return model

    def _fit(self, variant: Variant) -> UserModel:
        """A fitted model of a variant's seed and backbone, the same one for all that have both."""
        settings = self._context.settings
        key = self._seed(variant), variant.backbone
        if key not in self._fitted:
            model = dataclasses.replace(settings.model, seed=key[0], backbone=variant.backbone)
            config = create_config(dataclasses.replace(settings, model=model))
            self._fitted[key] = fitted_to(standardized(config, self._table.trained_profiles()), self._table)
        return self._fitted[key]

    def _seed(self, variant: Variant) -> int:
        return self._context.settings.model.seed if variant.seed is None else variant.seed
