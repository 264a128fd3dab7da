"""Ablations and sweeps, each trained anew at a share of the full budget, beside a base at the same share.

Those of another seed say how much that alone moves. All are evaluated on the same rows of a dozen of the tasks: probes
of the last training anchor, their penalty chosen on the validation anchor, the first test anchor reported.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.quality.adding import add, say
from updater.evaluation.evaluation_set import EvaluationSet, evaluate_systems, load_evaluation_set
from updater.evaluation.html import with_ablations
from updater.evaluation.report import make_ablations
from updater.evaluation.scoring import Scores
from updater.evaluation.systems import Candidate
from updater.labels.events import Events, open_events
from updater.model.checkpoint import create_model, load_model, save_model
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.build import build_data
from updater.training.fitted import fitted_model
from updater.training.train import train
from updater.training.tune import join_prompts, tunable_scenarios, tune_scenarios

HERE = Path(__file__).parent
STEPS, LAYERS_STEPS = 300, 300
"""A step sees 64 and 32 of 38,633 profiles, so steps are the size of the data too."""
TUNING_STEPS = 60
TOKENS = 6
"""Of a soft prompt, where its length is not what varies."""


BASE = "base"


@dataclass(frozen=True)
class Variant:
    """Changes to the config's tables of training and model."""

    training: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)


PAPER = "layout and losses of the paper"
PAPER_TRAINING = {
    "objective": "paper",
    "anchor_every_days": 14,
    "steps": 100,
    "users_per_step": 32,
    "pairs_per_user": 4,
    "learning_rate": 1e-3,
}
VARIANTS = {
    BASE: Variant(),
    "without layers": Variant({"layers_steps": 0}),
    "layers alone": Variant({"steps": 1, "learning_rate": 0.0}),
    "questions about days alone": Variant({"counted_questions": 24}),
    "four questions a step": Variant({"questions_per_step": 4, "counted_questions": 3}),
    "an anchor every four weeks": Variant({"anchor_every_days": 28}),
    PAPER: Variant(PAPER_TRAINING, {"layout": "paper"}),
    f"{PAPER}, without contrastive": Variant(PAPER_TRAINING | {"contrastive_weight": 0.0}, {"layout": "paper"}),
    f"{PAPER}, without next token": Variant(
        PAPER_TRAINING | {"next_token_weight": 0.0, "predicted_pairs": 0}, {"layout": "paper"}
    ),
    "another seed": Variant({"seed": 8}, {"seed": 8}),
    "a third seed": Variant({"seed": 9}, {"seed": 9}),
    "half of the steps": Variant({"steps": STEPS // 2, "layers_steps": LAYERS_STEPS // 2}),
    "a quarter of the steps": Variant({"steps": STEPS // 4, "layers_steps": LAYERS_STEPS // 4}),
}
FIRST, FITTED = "initial weights", "fitted, without a step"
PROMPTED = f"prompts of {TOKENS} tokens"
PROMPTS = {
    PROMPTED: (TOKENS, BASE),
    "prompts of 1 token": (1, BASE),
    "prompts of 12 tokens": (12, BASE),
    "tuned without training": (TOKENS, FITTED),
}
"""The length of the soft prompts, and the model that they are tuned on."""
ROWS = (*VARIANTS, FITTED, FIRST, *PROMPTS)
REFERENCES = (
    dict.fromkeys(ROWS, BASE)
    | {name: PAPER for name in VARIANTS if name.startswith(f"{PAPER}, ")}
    | {row: PROMPTED for row, (_, model) in PROMPTS.items() if model != BASE}
)
"""What each is compared with."""


def run_ablations(
    context: WritableContext,
    pool: ProcessPool,
    report: Path,
    page: Path,
    progress: Progress,
    only: Collection[str] = (),
) -> None:
    """Train the variants, one in each process, evaluate them, and add them to a report.

    What was trained, tuned or embedded before is not done again.

    Args:
        context: the deployment of configs/quality.toml.
        pool: two processes or more train as many variants at a time.
        report: the JSON to add to.
        page: the page to add to.
        progress: called as work is done.
        only: names of rows to add; all if empty.
    """
    settings = small(context.settings)
    context = open_writable(settings, context.now)
    asked = set(only or ROWS)
    asked |= {BASE, *(REFERENCES[row] for row in asked), *(PROMPTS[row][1] for row in asked & PROMPTS.keys())}
    models = _train(context, pool, [name for name in VARIANTS if name in asked], progress)
    models[FITTED] = fitted_model(context, load_model(models[BASE]).config, progress)
    models[FIRST] = _first_weights(context, models[BASE])
    scored: dict[str, Scores] = {}
    with open_events(context, progress) as events:
        evaluation_set = load_evaluation_set(events)
        for row in (row for row in ROWS if row in asked):
            if row in models:
                scored[row] = _run(context, pool, events, evaluation_set, models[row], "base", progress)
                continue
            tokens, frozen = PROMPTS[row]
            tuning = dataclasses.replace(settings.tuning, tokens=tokens)
            tuned = open_writable(dataclasses.replace(settings, tuning=tuning), context.now)
            tune_scenarios(tuned, pool, models[frozen], tunable_scenarios(settings), progress)
            scored[row] = _run(
                tuned, pool, events, evaluation_set, join_prompts(tuned, models[frozen]), "tuned", progress
            )
    made = make_ablations(scored, REFERENCES, settings.evaluation.bootstrap, settings.model.seed)
    known = json.loads(report.read_text())["ablations"] | made
    found = {row: known[row] for row in ROWS if row in known}
    add(report, "ablations", found)
    page.write_text(with_ablations(page.read_text(), found))
    for row, values in made.items():
        say(row, values)


def small(settings: Settings) -> Settings:
    """The same deployment with the budget and the tasks of an ablation."""
    training = dataclasses.replace(settings.training, steps=STEPS, layers_steps=LAYERS_STEPS, processes=1)
    evaluated = settings.evaluation
    evaluated = dataclasses.replace(
        evaluated, tasks=str(HERE / "ablations.toml"), train=evaluated.train[-1:], test=evaluated.test[:1]
    )
    tuning = dataclasses.replace(settings.tuning, steps=TUNING_STEPS)
    # With layers, so that it shows what they add.
    model = dataclasses.replace(settings.model, backbone="tiny")
    return dataclasses.replace(settings, model=model, training=training, evaluation=evaluated, tuning=tuning)


def train_variant(settings: Settings, now: datetime, variant: Variant) -> str:
    """Train one variant in this process. Returns its directory."""
    context = open_writable(
        dataclasses.replace(
            settings,
            training=dataclasses.replace(settings.training, **variant.training),
            model=dataclasses.replace(settings.model, **variant.model),
        ),
        now,
    )
    alone = dataclasses.replace(context.settings, run=dataclasses.replace(settings.run, processes=1))
    with ProcessPool(alone, now) as pool:
        build_data(context, pool)
    return train(context).model


def _train(context: WritableContext, pool: ProcessPool, names: list[str], progress: Progress) -> dict[str, str]:
    """Directories of the variants."""
    jobs = [(context.settings, context.now, VARIANTS[name]) for name in names]
    models = {}
    for done, (index, model) in enumerate(pool.map(train_variant, jobs)):
        models[names[index]] = model
        progress("training variants", done + 1, len(jobs))
    return models


def _first_weights(context: WritableContext, trained: str) -> str:
    """Initial weights with the constants of a trained model. Returns the model's directory."""
    directory = context.layout.path("training", "models", "untrained")
    save_model(create_model(load_model(trained).config), directory)
    return directory


def _run(
    context: WritableContext,
    pool: ProcessPool,
    events: Events,
    evaluation_set: EvaluationSet,
    model: str,
    system: str,
    progress: Progress,
) -> Scores:
    with Scratch(context.settings) as scratch:
        return evaluate_systems(context, pool, events, evaluation_set, Candidate(model), [system], scratch, progress)[
            1
        ][system]
