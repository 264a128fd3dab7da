"""The command that evaluates a model."""

from dataclasses import asdict, replace
from typing import Any

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result, progress_lines
from updater.settings import Settings


@click.command()
@click.option("--model", "directory", metavar="DIR", help="Directory of a model; default: the live one.")
@click.option("--version", type=click.IntRange(min=1), help="Number of a model version instead.")
@click.option("--output", metavar="DIR", help="Where report.json and report.html go; default: <state>/evaluation.")
@click.option("--systems", metavar="NAMES", help="What is compared, separated by commas; default: all but encoders.")
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Which anchors of [evaluation] are reported.",
)
@click.option(
    "--paraphrases",
    type=click.IntRange(min=0),
    metavar="N",
    help="Paraphrases of each task's query to evaluate beside it; default: evaluation.paraphrases.",
)
@command_options
@computes
def evaluate(
    settings: Settings,
    as_json: bool,
    directory: str | None,
    version: int | None,
    output: str | None,
    systems: str | None,
    split: str,
    paraphrases: int | None,
) -> None:
    """Compare a model with baselines on the label tasks.

    Writes a report, and says whether the model passes the gate that a promotion in Airflow asks for. Embeddings are
    kept, so running it again is fast.
    """
    from updater.evaluation.evaluate import evaluate as run_evaluation
    from updater.pipeline.init import create_ledger
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    if version is not None and directory is not None:
        raise click.UsageError("Name one model: give --version or --model, not both.")
    if paraphrases is not None:
        settings = replace(settings, evaluation=replace(settings.evaluation, paraphrases=paraphrases))
    create_ledger(settings)
    context = open_writable(settings)
    wanted = [part.strip() for part in systems.split(",") if part.strip()] if systems else []
    with progress_lines(as_json) as progress, ProcessPool(settings, context.now) as pool:
        found = run_evaluation(
            context, pool, directory, version=version, systems=wanted, split=split, output=output, progress=progress
        )
    print_result(asdict(found), as_json, show_evaluation)


MOST_TASKS = 12
"""Tasks that are printed; the page has all."""


def _auc(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _cost(values: dict[str, Any]) -> tuple[str, str]:
    ms, num_bytes = values["cpu_ms_per_user"], values["bytes_per_user"]
    return "" if ms is None else f"{ms:.2f}", "" if num_bytes is None else f"{num_bytes:,}"


def show_evaluation(found: dict[str, Any]) -> None:
    """The result of `updater model evaluate`."""
    from updater.evaluation.report import has_model

    names = ("auc", "auc_se", "ks", "ks_se", "held_out_auc")
    rows = [
        [system, *("" if values.get(name) is None else f"{values[name]:.4f}" for name in names), *_cost(values)]
        for system, values in found["report"]["mean"].items()
    ]
    columns = ["system", "AUC", "se", "KS", "se", "AUC of held-out users", "CPU ms per user", "bytes"]
    tables.table(f"{found['model']}: means over {len(found['report']['tasks'])} tasks", columns, rows)
    by_task = found["report"]["tasks"]
    shown = list(by_task)[:MOST_TASKS]
    systems = list(found["report"]["mean"])
    rows = [[task, *(_auc(by_task[task][system]["auc"]) for system in systems)] for task in shown]
    more = f" (the first {len(shown)} of {len(by_task)})" if len(shown) < len(by_task) else ""
    tables.table(f"AUC of each task{more}", ["task", *systems], rows)
    if paraphrases := found["report"]["paraphrases"]:
        auc, error = (paraphrases["difference"][name] for name in ("auc", "auc_se"))
        tables.echo(
            f"By {sum(map(len, paraphrases['tasks'].values()))} paraphrases of {len(paraphrases['tasks'])} tasks, "
            f"base is {auc or 0:+.4f} from the mean AUC of the wording, with a standard error of {error or 0:.4f}."
        )
    if has_model(found["report"]):
        tables.echo("The model passes the gate." if not found["gate"] else "The model does not pass the gate:")
        tables.echo(*(f"  {reason}" for reason in found["gate"]))
    tables.echo(*(f"Beside it: {said}" for said in found["beside"]))
    tables.echo(f"{found['report_file'].removesuffix('json')}html has everything.")
