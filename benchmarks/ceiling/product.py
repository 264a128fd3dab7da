"""The product's model as a system of the ceiling: trained by its own command, embedded at the four anchors."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from benchmarks.ceiling.evaluation import TEST_ANCHOR, TRAIN_ANCHORS, System, from_table
from benchmarks.product import command, paths_below
from updater.domain.window import first_buffer_day
from updater.evaluation.systems.controls import CONTROLS, has_control
from updater.evaluation.systems.embedding import Embedder, embed, question_column
from updater.labels.tasks import Question
from updater.lake import partitions
from updater.model.checkpoint import load_model, model_digest
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources.population import PopulationSpec, land, questions
from updater.store.scratch import Scratch

CONFIG = Path(__file__).parent / "updater.toml"
COMPARED = ("without_layers", "fitted")
"""Controls of the trained model: what its layers add, and what learning adds."""


def product_systems(spec: PopulationSpec, steps: int, work: Path, beside: Mapping[str, str]) -> dict[str, System]:
    """`base`, what it is compared with, and further models.

    Args:
        spec: the population; its days have the config's dates.
        steps: of training.
        work: directory for the lake and the state; what is there already is not made again.
        beside: directories of further models by name.
    """
    root = (work / f"{spec.num_users}-{spec.seed}").resolve()
    if not partitions.has_landed(str(root / "lake" / "answer"), spec.last_day):
        land(str(root / "lake"), spec)
    environ = {
        **paths_below(root),
        "UPDATER_TRAINING__STEPS": str(steps),
        "UPDATER_TRAINING__SEED": str(spec.seed),
        "UPDATER_MODEL__SEED": str(spec.seed),
    }
    trained = command(CONFIG, environ, "model", "train")["model"]
    settings = load_settings(CONFIG, environ)
    context = open_writable(settings)
    asked = tuple(Question(question.text) for question in questions())
    days = {anchor: spec.first_day + timedelta(days=anchor) for anchor in (*TRAIN_ANCHORS, TEST_ANCHOR)}
    with Scratch(settings) as scratch, ProcessPool(settings, context.now) as pool:
        model = load_model(trained)
        models = {"base": trained}
        chosen = [name for name in COMPARED if has_control(name, model)]
        models |= {name: CONTROLS[name](context, model, scratch, lambda *_: None) for name in chosen}
        models |= beside
        embedders = {name: Embedder(model, model_digest(model), asked) for name, model in models.items()}
        first = first_buffer_day(days[TRAIN_ANCHORS[0]], settings.buffer.days)
        land_and_encode(context, pool, first, days[TEST_ANCHOR])
        embed(context, pool, list(dict.fromkeys(embedders.values())), list(days.values()))
    systems = {}
    for name, embedder in embedders.items():
        table = {}
        for anchor, ds in days.items():
            rows = partitions.read_table(embedder.file(context, ds))
            users = rows["user_id"].to_pylist()
            for position, question in enumerate(questions()):
                vectors = rows[question_column(position)].to_numpy()
                table[question.name, anchor] = dict(zip(users, vectors, strict=True))
        systems[name] = from_table(spec, table)
    return systems
