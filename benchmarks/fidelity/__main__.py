"""What can be read back from embeddings: `python -m benchmarks.fidelity`, with `--log` for one of the two logs.

Lands the log below --work, trains a model unless --model names one, runs daily windows, and asks about the users of the
day that has as many windows after it as the next event is looked for. Writes report.json and report.html of the public
Complete Journey log beside this file, those of the made-up log of six modalities into `made_up`, or both into --to DIR.
What was landed, trained or run before is left alone. `--tables` prints the reports as the page has them.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa

from benchmarks.fidelity.encoders import ALL, INPUTS, kept_vectors, sizes
from benchmarks.fidelity.tables import tables
from benchmarks.product import command, cpu_seconds, paths_below
from benchmarks.report import about
from updater.domain.window import first_buffer_day
from updater.encoders.config import ENCODERS, EncoderConfig, Pretraining
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.questions.make import HORIZON_DAYS
from updater.fidelity.run import measure_fidelity
from updater.lake import partitions
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources import completejourney, synthetic

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
MADE_UP = synthetic.SyntheticSpec(num_users=400, num_days=40)


@dataclass(frozen=True)
class Log:
    """A log, and the day at whose end is asked."""

    config: Path
    land: Callable[[str], object]
    ds: date
    trained: bool
    """False for a log that is too short to train on: an untrained model is asked."""
    directory: str
    """Of the report, below that of this file."""

    @property
    def last(self) -> date:
        """The last window, so that the next events are known."""
        return self.ds + timedelta(days=HORIZON_DAYS)


LOGS = {
    "completejourney": Log(
        CONFIGS / "quality.toml",
        lambda lake: completejourney.land(
            lake, completejourney.FIRST_DAY, completejourney.LAST_DAY, load_settings(CONFIGS / "quality.toml").timezone
        ),
        date(2017, 10, 22),
        trained=True,
        directory=".",
    ),
    "made_up": Log(
        CONFIGS / "local.toml",
        lambda lake: synthetic.land(lake, MADE_UP),
        MADE_UP.last_day - timedelta(days=HORIZON_DAYS),
        trained=False,
        directory="made_up",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", choices=LOGS, action="append", help="repeatable; default: both")
    parser.add_argument("--model", metavar="DIR", help="a trained model for the Complete Journey log")
    parser.add_argument(
        "--encoders", nargs="*", choices=ENCODERS, help="of the literature, beside the others; without a name all"
    )
    parser.add_argument("--widths", nargs="+", type=int, default=[32, 64], help="of the encoders")
    parser.add_argument(
        "--inputs",
        nargs="*",
        default=[],
        choices=ENCODERS,
        help="encoders that are also made without side information and text",
    )
    parser.add_argument("--steps", type=int, default=Pretraining().steps, help="of an encoder's pre-training")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--to", type=Path, default=HERE, help="directory for the reports")
    parser.add_argument("--work", type=Path, default=Path("build/fidelity"), help="directory for lakes and states")
    parser.add_argument("--tables", action="store_true", help="print the reports that are there as Markdown")
    given = parser.parse_args()
    for name in given.log or LOGS:
        target = (given.to / LOGS[name].directory).resolve()
        if not given.tables:
            measure(LOGS[name], (given.work / name).resolve(), target, given)
        print(tables(name, json.loads((target / "report.json").read_text(encoding="utf-8"))))


def measure(log: Log, root: Path, target: Path, given: argparse.Namespace) -> None:
    """Bring a log's deployment to the day, ask, and add to the report how long that took and where."""
    # Layers of an untrained model add nothing but time.
    environ, machine = {**paths_below(root), "UPDATER_MODEL__BACKBONE": "none"}, about()
    settings = load_settings(log.config, environ=environ)
    landed = root / "landed"
    if not landed.exists():
        log.land(settings.paths.lake)
        landed.touch()
    model = given.model
    if log.trained and not model:
        model = command(log.config, environ, "model", "train")["model"]
    command(log.config, environ, "init", *(["--model", model] if log.trained and model else []))
    days = str(log.ds - timedelta(days=1)), str(log.last)
    command(log.config, environ, "backfill", "--from-date", days[0], "--to-date", days[1])
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        vectors, encoders = kept_vectors(
            context,
            pool,
            chosen(given) if log.trained else {},
            log.ds,
            Pretraining(steps=given.steps),
            root / "encoders",
            print,
        )
        external = {name: partial(_the_same, one) for name, one in vectors.items()}
        begin, cpu = perf_counter(), cpu_seconds()
        measure_fidelity(
            context, pool, log.ds, users=given.users, output=str(target), external=external, progress=print
        )
    spent: dict[str, Any] = {
        "seconds": round(perf_counter() - begin),
        "cpu_seconds": round(cpu_seconds() - cpu),
        "log": {"first_day": str(first_buffer_day(log.ds, settings.buffer.days)), "last_day": str(log.last)},
        "encoders": encoders,
        **machine,
    }
    file = target / "report.json"
    report = json.loads(file.read_text(encoding="utf-8")) | spent
    with partitions.write_file(str(file)) as out:
        out.write((json.dumps(report, indent=1) + "\n").encode("utf-8"))


def chosen(given: argparse.Namespace) -> dict[str, EncoderConfig]:
    """The encoders that the command line asks for, by name."""
    if given.encoders is None:
        return {}
    configs = sizes(given.encoders or ENCODERS, given.widths)
    return {name.removesuffix(f", {ALL}"): config for name, config in configs.items()} | sizes(
        given.inputs, given.widths[-1:], [name for name in INPUTS if name != ALL]
    )


def _the_same(vectors: UserVectors, questions: pa.Table) -> UserVectors:
    """An encoder's vectors answer to no questions: it learned from the log."""
    return vectors


if __name__ == "__main__":
    main()
