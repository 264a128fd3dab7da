"""The command that asks what can be read back from the embeddings."""

from dataclasses import asdict
from datetime import date
from typing import Any

import click

from updater import tables
from updater.commands.common.command import DAY, command_options, computes, print_result, progress_lines
from updater.settings import Settings


@click.command()
@click.option("--ds", type=DAY, help="Landing day at whose end is asked, YYYY-MM-DD; default: the newest window.")
@click.option(
    "--users", type=click.IntRange(min=1), default=2000, show_default=True, help="Users who are asked, chosen by hash."
)
@click.option("--model", "directory", metavar="DIR", help="Directory of a model to compare with the live one.")
@click.option("--version", type=click.IntRange(min=1), help="Number of a model version to compare instead.")
@click.option(
    "--reader",
    "readers",
    type=click.Choice(["native", "asked", "llm"]),
    multiple=True,
    help="Who reads beside the probe; repeatable. Default: native and asked; with a pretrained backbone, where each "
    "question costs a pass of its own, nobody who asks.",
)
@click.option(
    "--llm-model",
    default="smollm2",
    show_default=True,
    help="Language model of reader llm: packaged name, directory or Hugging Face id.",
)
@click.option(
    "--llm-steps", type=click.IntRange(min=0), default=300, show_default=True, help="Training steps of reader llm."
)
@click.option(
    "--llm-questions",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Questions that reader llm answers at most.",
)
@click.option(
    "--llm-newest",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Newest events that reader llm sees as text.",
)
@click.option(
    "--output", metavar="DIR", help="Where report.json and report.html go; default: <state>/evaluation/fidelity/ds=…."
)
@command_options
@computes
def fidelity(
    settings: Settings,
    as_json: bool,
    ds: date | None,
    users: int,
    directory: str | None,
    version: int | None,
    readers: tuple[str, ...],
    llm_model: str,
    llm_steps: int,
    llm_questions: int,
    llm_newest: int,
    output: str | None,
) -> None:
    """Ask what can be read back from a day's embeddings.

    Questions are made of the event log, and the answers are read off the embeddings and off what is simpler. Writes a
    report, which also says whether the daily update equals a rebuild.
    """
    from updater.fidelity.llm.joined import LlmReading
    from updater.fidelity.run import measure_fidelity
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    if version is not None and directory is not None:
        raise click.UsageError("Name one model: give --version or --model, not both.")
    context = open_writable(settings)
    others = tuple(name for name in readers if name != "llm")
    reading = LlmReading(llm_model, llm_steps, llm_questions, llm_newest, seed=settings.model.seed)
    with progress_lines(as_json) as progress, ProcessPool(settings, context.now) as pool:
        found = measure_fidelity(
            context,
            pool,
            ds,
            users=users,
            model=directory,
            version=version,
            output=output,
            readers=others if others else None,
            llm=reading if "llm" in readers else None,
            progress=progress,
        )
    print_result(asdict(found), as_json, show_fidelity)


def show_fidelity(found: dict[str, Any]) -> None:
    """The result of `updater model fidelity`."""
    report = found["report"]
    rows = [
        [name, *map(_percent, (values["acc"], values["prior"], values["lift"]))]
        for name, values in report["macro"].items()
    ]
    tables.table(
        f"{report['model']} on {report['ds']}: means over sub-tasks", ["system", "accuracy", "prior", "lift"], rows
    )
    systems = list(report["macro"])
    rows = [
        [subtask, f"{values['prior']['n']:,}", *(_percent(values[name]["acc"]) for name in systems)]
        for subtask, values in report["subtasks"].items()
    ]
    tables.table("Accuracy of each sub-task", ["sub-task", "questions", *systems], rows)
    if llm := report["llm"]:
        rows = [[name, _percent(one["acc"]), f"{one['tokens']:g}"] for name, one in llm["systems"].items()]
        tables.table(
            f"{llm['model']} on {llm['asked']:,} of the questions", ["answers from", "accuracy", "tokens"], rows
        )
        tables.echo(llm["reason"])
    tables.echo("The day's update is wrong:" if found["wrong"] else "Nothing is wrong with the day's update.")
    tables.echo(*(f"  {reason}" for reason in found["wrong"]))
    if report["candidate"]:
        tables.echo("The candidate should not go live:" if found["lost"] else "The candidate passes the gate.")
        tables.echo(*(f"  {reason}" for reason in found["lost"]))
    tables.echo(f"{found['report_file'].removesuffix('json')}html has everything.")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
