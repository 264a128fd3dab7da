"""Other models beside a seed that was evaluated: only they and what they are compared with are scored."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.quality.adding import add
from benchmarks.quality.seeds import PARTS, check_same, train_alone, with_seed
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.report import Json, make_report
from updater.evaluation.systems.compared import Candidate
from updater.labels.events import open_events
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.store.scratch import Scratch

BASE = "base"


def run_beside(
    context: WritableContext,
    pool: ProcessPool,
    seed: int,
    models: Mapping[str, str],
    report: Path,
    progress: Progress,
) -> None:
    """Score models, add them to the seed's systems, and their differences to its `base`.

    Args:
        context: the deployment of configs/quality.toml.
        pool: what computes.
        seed: of a run that is in the report.
        models: their directories by the names of their systems.
        report: the JSON to add to.
        progress: called as work is done.

    Raises:
        RuntimeError: `base` is not what it is in the report.
    """
    known: Json = json.loads(report.read_text())["seeds"]
    settings = with_seed(context.settings, seed)
    one = open_writable(settings, context.now)
    candidate = Candidate(train_alone(settings, context.now), models=models)
    with open_events(one, progress) as events, Scratch(settings) as scratch:
        evaluation_set = load_evaluation_set(events)
        scored = evaluate_systems(one, pool, events, evaluation_set, candidate, [BASE], scratch, progress)[1]
    whole = make_report(
        evaluation_set.tasks, scored, {}, context.settings.evaluation.bootstrap, context.settings.model.seed
    )
    check_same(BASE, known[str(seed)], whole)
    added = known | {str(seed): joined(known[str(seed)], whole)}
    add(report, "seeds", added)
    print(json.dumps({name: whole["mean"][name] for name in models} | whole["differences"], indent=1))


def joined(seed: Json, more: Json) -> Json:
    """A seed with the systems of another report on the same rows and draws."""
    found = {part: seed[part] | more[part] for part in PARTS if part != "family"}
    families = {
        family: {part: parts[part] | more["family"][family][part] for part in parts}
        for family, parts in seed["family"].items()
    }
    return found | {"family": families}
