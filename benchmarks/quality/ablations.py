"""The paper's ablations and sweeps, each retrained at a share of the full budget, beside a base at the same share.

Every variant starts from the same weights and sees the same pairs in the same order; those of another seed do not, and
say how much that alone moves. All are evaluated on the same rows of a dozen of the tasks: probes of the last training
anchor, their penalty chosen on the validation anchor, the first test anchor reported.
"""

import dataclasses
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.quality.adding import add, say
from updater.domain.fingerprint import fingerprint
from updater.evaluation.evaluation_set import EvaluationSet, evaluate_systems, load_evaluation_set
from updater.evaluation.html import with_ablations
from updater.evaluation.report import make_ablations
from updater.evaluation.scoring import Scores
from updater.evaluation.systems import Candidate
from updater.evaluation.tuning import join_prompts, tunable_scenarios, tune_scenarios
from updater.labels.events import Events, open_events
from updater.model.checkpoint import create_model, load_model, save_model
from updater.model.config import create_config
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.threads import one_thread
from updater.settings import Settings, load_settings
from updater.store.scratch import Scratch
from updater.training.build import data_root
from updater.training.pretrain import pretrain
from updater.training.profiles import Profiles
from updater.training.train import first_model, read_all, standardized, training_layout
from updater.training.useru.dataset import read_split
from updater.training.whitening import half_whiten

HERE = Path(__file__).parent
STEPS = 100
"""A step sees 32 of 20,543 profiles, so steps are the size of the data too."""
TUNING_STEPS = 60
TOKENS = 6
"""Of a soft prompt, where its length is not what varies."""
TRIAL_STEPS = 4


BASE = "base"


@dataclass(frozen=True)
class Variant:
    """A change to the config of training, to the backbone that the config names, to the model's own config, or to what
    follows training.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    backbone: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    whitened: bool = True
    reference: str = BASE
    """What it is compared with."""


FITTED = "projections and whitening alone"
PAPER = "losses of the paper"
PAPER_LOSSES = {
    "contrastive_weight": 1.0,
    "next_token_weight": 1.0,
    "choice_weight": 0.0,
    "facts_weight": 0.0,
    "facts_per_step": 0,
}
VARIANTS = {
    BASE: Variant(),
    "without contrastive": Variant({"contrastive_weight": 0.0}),
    "without choice": Variant({"choice_weight": 0.0}),
    "without auxiliary questions": Variant({"facts_weight": 0.0, "facts_per_step": 0}),
    "without auxiliary users": Variant({"further_users": 0}),
    "without next token": Variant({"next_token_weight": 0.0, "predicted_pairs": 0}),
    "without mask": Variant({"mask_after": 1.0}),
    PAPER: Variant(PAPER_LOSSES),
    f"{PAPER}, without contrastive": Variant(PAPER_LOSSES | {"contrastive_weight": 0.0}, reference=PAPER),
    f"{PAPER}, without next token": Variant(
        PAPER_LOSSES | {"next_token_weight": 0.0, "predicted_pairs": 0}, reference=PAPER
    ),
    "without user token": Variant(model={"user_token": False}),
    "without modality tokens": Variant(model={"modality_tokens": False}),
    "without user and modality tokens": Variant(model={"user_token": False, "modality_tokens": False}),
    "without topics": Variant(model={"summary_topics": 0}),
    "without partial whitening": Variant(whitened=False),
    FITTED: Variant({"steps": 1, "learning_rate": 0.0}),
    "another seed": Variant({"seed": 8}, model={"seed": 8}),
    "a third seed": Variant({"seed": 9}, model={"seed": 9}),
    "half of the data": Variant({"steps": STEPS // 2}),
    "a quarter of the data": Variant({"steps": STEPS // 4}),
}
SMOLLM2 = "two layers of SmolLM2, for as long"
SMOLLM2_VARIANT = Variant(backbone={"backbone": "smollm2", "backbone_layers": 2})
FIRST = "initial weights"
PROMPTED = f"prompts of {TOKENS} tokens"
PROMPTS = {
    PROMPTED: (TOKENS, BASE),
    "prompts of 1 token": (1, BASE),
    "prompts of 12 tokens": (12, BASE),
    "tuned without pre-training": (TOKENS, FIRST),
    f"tuned, {FITTED}": (TOKENS, FITTED),
}
"""The length of the soft prompts, and the model that they are tuned on."""
ROWS = (*VARIANTS, SMOLLM2, FIRST, *PROMPTS)
REFERENCES = (
    dict.fromkeys(ROWS, BASE)
    | {name: variant.reference for name, variant in VARIANTS.items()}
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
    if SMOLLM2 in asked:
        models[SMOLLM2] = _for_as_long(context, _seconds(models[BASE]))
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
    for row in models.keys() & made.keys() - {FIRST}:
        made[row]["seconds"] = round(_seconds(models[row]))
    known = json.loads(report.read_text())["ablations"] | made
    found = {row: known[row] for row in ROWS if row in known}
    add(report, "ablations", found)
    page.write_text(with_ablations(page.read_text(), found))
    for row, values in made.items():
        say(row, values)


def small(settings: Settings) -> Settings:
    """The same deployment with the budget and the tasks of an ablation."""
    training = dataclasses.replace(settings.training, steps=STEPS, processes=1)
    evaluated = settings.evaluation
    evaluated = dataclasses.replace(
        evaluated, tasks=str(HERE / "ablations.toml"), train=evaluated.train[-1:], test=evaluated.test[:1]
    )
    tuning = dataclasses.replace(settings.tuning, steps=TUNING_STEPS)
    return dataclasses.replace(settings, training=training, evaluation=evaluated, tuning=tuning)


def train_variant(settings: Settings, now: datetime, variant: Variant) -> str:
    """Train one variant in this process. Returns its directory, beside which lie the seconds of its steps."""
    options = dataclasses.replace(settings.training, **variant.training)
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, **variant.backbone))
    context = open_writable(settings, now)
    with one_thread():
        rows, profiles = _data(settings.source, now)
        config = standardized(dataclasses.replace(create_config(settings), **variant.model), list(profiles.values()))
        recipe = fingerprint(config.to_json(), repr(options), variant.whitened)
        target = Path(training_layout(context).path("training", "ablations", recipe[:12]))
        if _seconds_file(target).exists():
            return str(target)
        model, table = first_model(config, rows, profiles, options)
        begin = time.perf_counter()
        pretrain(model, table, options, target.with_suffix(".run"), recipe)
        seconds = time.perf_counter() - begin
        if variant.whitened:
            half_whiten(model, table, options)
        save_model(model, target)
        _seconds_file(target).write_text(str(seconds))
    return str(target)


@cache
def _data(source: Path, now: datetime) -> tuple[pa.Table, dict[date, Profiles]]:
    """The training rows and the profiles, read once by a process for all of its variants."""
    context = open_writable(load_settings(source), now)
    rows = read_split(data_root(context.settings), "train")
    return rows, read_all(context, sorted(set(rows["anchor_day"].to_pylist())))


def _train(context: WritableContext, pool: ProcessPool, names: list[str], progress: Progress) -> dict[str, str]:
    """Directories of the variants."""
    jobs = [(context.settings, context.now, VARIANTS[name]) for name in names]
    models = {}
    for done, (index, model) in enumerate(pool.map(train_variant, jobs)):
        models[names[index]] = model
        progress("training variants", done + 1, len(jobs))
    return models


def _for_as_long(context: WritableContext, seconds: float) -> str:
    """SmolLM2's first layers, trained for about as many seconds as the base. Returns the model's directory."""

    def trained(steps: int) -> str:
        return train_variant(
            context.settings, context.now, dataclasses.replace(SMOLLM2_VARIANT, training={"steps": steps})
        )

    return trained(max(1, round(seconds / (_seconds(trained(TRIAL_STEPS)) / TRIAL_STEPS))))


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


def _seconds(model: str) -> float:
    return float(_seconds_file(Path(model)).read_text())


def _seconds_file(model: Path) -> Path:
    return model.with_suffix(".seconds")
