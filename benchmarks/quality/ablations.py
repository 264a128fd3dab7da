"""The paper's ablations and sweeps, each trained anew at a share of the full budget, against a base at the same share.

Every variant starts from the same weights, sees the same pairs in the same order, and is judged by the same probe on a
dozen of the tasks, on the last training anchor and the first test anchor; tuned ones by their soft prompts.
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

from updater.domain.fingerprint import fingerprint
from updater.evaluation.evaluate import evaluate
from updater.evaluation.tuning import join_prompts, tune_scenarios
from updater.model.checkpoint import CONFIG, create_model, load_model, save_model
from updater.model.config import create_config
from updater.pipeline.context import Context, Progress, open_context
from updater.pipeline.threads import one_thread
from updater.pipeline.workers import Workers
from updater.settings import Settings, load_settings
from updater.training.build import data_root
from updater.training.pretrain import pretrain
from updater.training.profiles import Profiles
from updater.training.train import first_model, read_all, standardised, training_directory
from updater.training.useru.dataset import read_split

HERE = Path(__file__).parent
STEPS = 100
"""A step sees 32 of 20,543 profiles, so steps are the size of the data too."""
TUNING_STEPS = 60
SCENARIOS = ("lapse", "coupon_redemption", "will_buy_yogurt", "will_buy_baby_foods")
"""Tuned in the variants that are about tuning: two single ones and two of the family."""
TOKENS = (1, 12)
"""Prompt lengths beside the config's own."""
TRIAL_STEPS = 4
PROMPTS = "prompts of {} tokens"


@dataclass(frozen=True)
class Variant:
    """A change to the config of training, to the backbone that the config names, or to the model's own config."""

    training: Mapping[str, Any] = field(default_factory=dict)
    backbone: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)


BASE = "base"
VARIANTS = {
    BASE: Variant(),
    "without contrastive": Variant({"contrastive_weight": 0.0}),
    "without facts": Variant({"facts_weight": 0.0, "facts_per_step": 0}),
    "without further users": Variant({"further_users": 0}),
    "without next token": Variant({"next_token_weight": 0.0, "predicted_pairs": 0}),
    "without mask": Variant({"mask_after": 1.0}),
    "without user token": Variant(model={"user_token": False}),
    "without modality tokens": Variant(model={"modality_tokens": False}),
    "without user and modality tokens": Variant(model={"user_token": False, "modality_tokens": False}),
    "half of the data": Variant({"steps": STEPS // 2}),
    "a quarter of the data": Variant({"steps": STEPS // 4}),
}
SMOLLM2 = "two layers of SmolLM2, for as long"
SMOLLM2_VARIANT = Variant(backbone={"backbone": "smollm2", "backbone_layers": 2})
UNTRAINED = "tuned without pre-training"


def known_rows(settings: Settings) -> list[str]:
    """Names of all rows, in their order."""
    return [*VARIANTS, SMOLLM2, UNTRAINED, *(PROMPTS.format(n) for n in (settings.tuning.tokens, *TOKENS))]


def run_ablations(
    context: Context, workers: Workers, report: Path, progress: Progress, only: Collection[str] = ()
) -> None:
    """Train the variants that `report` does not hold yet, one in each process, judge them and add them.

    Args:
        context: the deployment of configs/quality.toml.
        workers: two processes or more train as many variants at a time.
        report: the JSON to add to.
        progress: told what is done.
        only: names of rows to add, beside the base; all if empty.
    """
    settings = small(context.settings)
    context = open_context(settings, context.now)

    def missing(name: str) -> bool:
        return (not only or name in only) and not _is_judged(report, name)

    # The base is tuned in what follows.
    names = [name for name in VARIANTS if name == BASE or missing(name)]
    jobs = [(settings, context.now, VARIANTS[name]) for name in names]
    models = {}
    for done, (index, (model, seconds)) in enumerate(workers.map(train_variant, jobs)):
        models[names[index]] = model
        if seconds:
            _add(report, "seconds of training", {names[index]: round(seconds)})
        progress("training variants", done + 1, len(jobs))
    for name, model in models.items():
        _judge(context, workers, name, model, ["base"], report, progress)
    if missing(SMOLLM2):
        seconds = json.loads(report.read_text())["ablations"]["seconds of training"][BASE]
        _judge(context, workers, SMOLLM2, _for_as_long(context, seconds), ["base"], report, progress)
    models[UNTRAINED] = _untrained(context, models[BASE])
    for name, tokens in ((UNTRAINED, settings.tuning.tokens), *((BASE, n) for n in (settings.tuning.tokens, *TOKENS))):
        label = name if name == UNTRAINED else PROMPTS.format(tokens)
        if not missing(label):
            continue
        tuning = dataclasses.replace(settings.tuning, tokens=tokens)
        tuned = open_context(dataclasses.replace(settings, tuning=tuning), context.now)
        tune_scenarios(tuned, workers, models[name], SCENARIOS, progress)
        _judge(tuned, workers, label, join_prompts(tuned, models[name]), ["base", "tuned"], report, progress)


def small(settings: Settings) -> Settings:
    """The same deployment with the budget and the tasks of an ablation."""
    training = dataclasses.replace(settings.training, steps=STEPS, processes=1)
    judged = settings.evaluation
    judged = dataclasses.replace(
        judged, tasks=str(HERE / "ablations.toml"), train=judged.train[-1:], validation=(), test=judged.test[:1]
    )
    tuning = dataclasses.replace(settings.tuning, steps=TUNING_STEPS)
    return dataclasses.replace(settings, training=training, evaluation=judged, tuning=tuning)


def train_variant(settings: Settings, now: datetime, variant: Variant) -> tuple[str, float]:
    """Train one variant in this process. Returns its directory and the seconds of its steps (0: it was there)."""
    options = dataclasses.replace(settings.training, **variant.training)
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, **variant.backbone))
    context = open_context(settings, now)
    with one_thread():
        rows, profiles = _data(settings.source, now)
        config = standardised(dataclasses.replace(create_config(settings), **variant.model), list(profiles.values()))
        recipe = fingerprint(config.to_json(), repr(options))
        target = Path(training_directory(context), "ablations", recipe[:12])
        if (target / CONFIG).exists():
            return str(target), 0.0
        model, table = first_model(config, rows, profiles, options)
        begin = time.perf_counter()
        pretrain(model, table, options, target.with_suffix(".run"), recipe)
        seconds = time.perf_counter() - begin
        save_model(model, target)
    return str(target), seconds


@cache
def _data(source: Path, now: datetime) -> tuple[pa.Table, dict[date, Profiles]]:
    """The training rows and the profiles, read once by a process for all of its variants."""
    context = open_context(load_settings(source), now)
    rows = read_split(data_root(context.settings), "train")
    return rows, read_all(context, sorted(set(rows["anchor_day"].to_pylist())))


def _for_as_long(context: Context, seconds: float) -> str:
    """SmolLM2's first layers, trained for about as many seconds as the base. Returns the model's directory."""
    settings = context.settings
    trial = dataclasses.replace(SMOLLM2_VARIANT, training={"steps": TRIAL_STEPS})
    _, few = train_variant(settings, context.now, trial)
    steps = max(1, round(seconds / (few / TRIAL_STEPS)))
    return train_variant(settings, context.now, dataclasses.replace(SMOLLM2_VARIANT, training={"steps": steps}))[0]


def _judge(
    context: Context, workers: Workers, name: str, model: str, systems: list[str], report: Path, progress: Progress
) -> None:
    if _is_judged(report, name):
        return
    output = context.state("evaluation", "ablations", name.replace(" ", "-"))
    judged = evaluate(context, workers, model, systems=systems, output=output, progress=progress)
    found = {system: judged.report["mean"][system] for system in systems}
    _add(report, name, found)
    print(name, {system: round(values["auc"], 4) for system, values in found.items()}, flush=True)


def _is_judged(report: Path, name: str) -> bool:
    return name in json.loads(report.read_text())["ablations"]


def _add(report: Path, name: str, values: Mapping[str, Any]) -> None:
    found = json.loads(report.read_text())
    found["ablations"][name] = {**found["ablations"].get(name, {}), **values}
    report.write_text(json.dumps(found, indent=1) + "\n")


def _untrained(context: Context, trained: str) -> str:
    """First weights with the constants of a trained model."""
    directory = context.state("training", "models", "untrained")
    save_model(create_model(load_model(trained).config), directory)
    return directory
