"""Train, tune and evaluate on the public Complete Journey data: `python -m benchmarks.quality`.

Writes benchmarks/quality/report.json and report.html. What is done is left alone, so a run that was cut short is run
again. `python -m benchmarks.quality ablations` adds the ablations to the report that is there, or only those that are
named after it, `runs 7 8` the whole run again with these seeds and without pre-training, and `throughput` how fast
pre-training is.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.quality.ablations import ROWS, run_ablations
from benchmarks.quality.adding import add, commit
from benchmarks.quality.runs import run_again
from benchmarks.quality.throughput import measure
from updater.evaluation.evaluate import evaluate
from updater.evaluation.tuning import join_prompts, tunable_scenarios, tune_scenarios
from updater.lake import partitions
from updater.pipeline.init import create_ledger, initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources import completejourney
from updater.training.build import build_data
from updater.training.launch import ranks
from updater.training.train import train

HERE = Path(__file__).parent
REPORT = HERE / "report.json"
CONFIG = HERE.parents[1] / "configs" / "quality.toml"


def main() -> None:
    part, named = "".join(sys.argv[1:2]), sys.argv[2:]
    fits = {"": not named, "ablations": True, "runs": named and all(map(str.isdigit, named)), "throughput": not named}
    if not fits.get(part):
        sys.exit(__doc__)
    settings = load_settings(CONFIG)
    if part == "ablations" and (unknown := [name for name in named if name not in ROWS]):
        sys.exit(f"There is no ablation {unknown[0]!r}; choose from {', '.join(ROWS)}.")
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
    if part == "throughput":
        speed = measure(context)
        add(REPORT, "throughput", speed)
        print(json.dumps(speed, indent=1))
        return
    with ProcessPool(settings, context.now) as pool:
        build_data(context, pool, progress)
        if part:
            initialize(settings)
            context = open_writable(settings)
        if part == "ablations":
            run_ablations(context, pool, REPORT, REPORT.with_suffix(".html"), progress, named)
            return
        if part == "runs":
            run_again(context, pool, [int(seed) for seed in named], REPORT, progress)
            return
    with ranks(settings) as rank:
        trained = train(context, progress, rank)
    print(trained, flush=True)
    with ProcessPool(settings, context.now) as pool:
        for tuned in tune_scenarios(context, pool, trained.model, tunable_scenarios(settings), progress):
            print(tuned, flush=True)
    model = join_prompts(context, trained.model)
    initialize(settings, model)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        found = evaluate(context, pool, model, output=str(HERE), progress=progress)
    add(REPORT, "commit", commit())
    print(json.dumps(found.report["mean"], indent=1), found.gate, f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
