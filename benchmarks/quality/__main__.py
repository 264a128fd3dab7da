"""Train, tune and evaluate on the public Complete Journey data: `python -m benchmarks.quality`.

Writes benchmarks/quality/report.json and report.html. What is done is left alone, so a run that was cut short is run
again. `ablations` adds the ablations to the report that is there, or only those that are named after it, `seeds 8`
what depends on a seed, with another one, `beside 8 NAME=DIR` a further model to that seed, and `throughput` how fast
pre-training is. `rounding` prints what rounded embeddings cost, `few_labels` what soft prompts gain with few labels.
`tables` prints the report as the page has it.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.product import named
from benchmarks.quality.ablations import ROWS, run_ablations
from benchmarks.quality.adding import add, commit
from benchmarks.quality.beside import run_beside
from benchmarks.quality.coles import coles
from benchmarks.quality.few_labels import run_few_labels
from benchmarks.quality.rounding import run_rounding
from benchmarks.quality.seeds import run_seeds
from benchmarks.quality.tables import OTHERS, tables
from benchmarks.quality.throughput import measure
from updater.evaluation.evaluate import evaluate
from updater.evaluation.systems.vectors import VectorsFactory
from updater.lake import partitions
from updater.pipeline.init import create_ledger, initialize
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources import completejourney
from updater.training.build import build_data
from updater.training.launch import launch
from updater.training.tuning.tune import join_prompts, tunable_scenarios, tune_scenarios

HERE = Path(__file__).parent
REPORT = HERE / "report.json"
CONFIG = HERE.parents[1] / "configs" / "quality.toml"


def main() -> None:
    given = arguments(sys.argv[1:])
    if given.part == "tables":
        print(tables(json.loads(REPORT.read_text())))
        return
    settings = load_settings(CONFIG)
    begin = time.perf_counter()
    last: dict[str, float] = {}

    def progress(label: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if now - last.get("said", 0) > 20:
            last["said"] = now
            print(f"{now - begin:6.0f} s  {label} {done}/{total}", flush=True)

    days = completejourney.FIRST_DAY, completejourney.LAST_DAY
    # A day that is written again counts as rewritten, and all that was made of it would be checked once more.
    streams = [partitions.join(settings.paths.lake, m.name) for m in settings.modalities if m.kind == "stream"]
    if any(days[1] not in partitions.landed_days(stream) for stream in streams):
        completejourney.land(settings.paths.lake, *days, settings.timezone)
    create_ledger(settings)
    context = open_writable(settings)
    if given.part == "throughput":
        speed = measure(context)
        add(REPORT, "throughput", speed)
        print(json.dumps(speed, indent=1))
        return
    if given.part == "few_labels":
        print(json.dumps(run_few_labels(context, progress), indent=1))
        return
    external = partial(external_systems, context, given.coles, progress)
    with ProcessPool(settings, context.now) as pool:
        build_data(context, pool, progress)
        if given.part:
            initialize(settings)
            context = open_writable(settings)
        if given.part == "ablations":
            run_ablations(context, pool, REPORT, REPORT.with_suffix(".html"), progress, given.rows)
            return
        if given.part == "seeds":
            run_seeds(context, pool, given.seeds, REPORT, progress, external)
            return
        if given.part == "beside":
            run_beside(context, pool, given.seed, dict(given.models), REPORT, progress)
            return
        if given.part == "rounding":
            print(json.dumps(run_rounding(context, pool, progress), indent=1))
            return
    trained = launch(context, progress)
    print(trained, flush=True)
    with ProcessPool(settings, context.now) as pool:
        for tuned in tune_scenarios(context, pool, trained.model, tunable_scenarios(settings), progress):
            print(tuned, flush=True)
    model = join_prompts(context, trained.model)
    initialize(settings, model)
    context = open_writable(settings)
    models, others = dict(given.beside), external(settings.training.seed)
    with ProcessPool(settings, context.now) as pool:
        found = evaluate(
            context, pool, model, output=str(HERE), progress=progress, models=models, external=others, about=OTHERS
        )
    add(REPORT, "commit", commit())
    print(json.dumps(found.report["mean"], indent=1), found.gate, f"{time.perf_counter() - begin:.0f} s")


def arguments(given: list[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--coles", type=float, metavar="SECONDS", help="CoLES beside the others, trained for so many CPU seconds"
    )
    parser.add_argument(
        "--beside", action="append", default=[], type=named, metavar="NAME=DIR", help="a further model; repeatable"
    )
    parts = parser.add_subparsers(dest="part")
    parts.add_parser("ablations").add_argument("rows", nargs="*", metavar="ROW")
    parts.add_parser("seeds").add_argument("seeds", nargs="+", type=int)
    beside = parts.add_parser("beside")
    beside.add_argument("seed", type=int)
    beside.add_argument("models", nargs="+", type=named, metavar="NAME=DIR")
    parts.add_parser("rounding")
    parts.add_parser("few_labels")
    parts.add_parser("throughput")
    parts.add_parser("tables")
    known = parser.parse_args(given)
    if known.part == "ablations" and (unknown := [row for row in known.rows if row not in ROWS]):
        parser.error(f"there is no ablation {unknown[0]!r}; choose from {', '.join(ROWS)}")
    return known


def external_systems(
    context: WritableContext, seconds: float | None, progress: Progress, seed: int
) -> Mapping[str, VectorsFactory]:
    """CoLES, if it is asked for."""
    chosen = context.settings.evaluation
    days = sorted({*chosen.train, *chosen.validation, *chosen.test})
    return {} if seconds is None else {"coles": partial(coles, context, days, chosen.train, seconds, seed, progress)}


if __name__ == "__main__":
    main()
