"""Commands that make models."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result, progress_lines
from updater.settings import Settings


@click.command()
@click.option("--build-data", is_flag=True, help="Only land, encode and build what training reads, and train nothing.")
@command_options
@computes
def train(settings: Settings, as_json: bool, build_data: bool) -> None:
    """Make a new model from the lake.

    It needs no window and changes none. Resumable: run it again after a crash. The model is a directory, which
    `updater model tune` and `updater model promote` take.
    """
    from updater.pipeline.init import create_ledger
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool
    from updater.training.build import build_data as build
    from updater.training.launch import launch
    from updater.training.steps.distributed import this_rank

    create_ledger(settings)
    context = open_writable(settings)
    with progress_lines(as_json) as progress:
        # Processes that something else started, such as torchrun, find the data built.
        if this_rank().count == 1:
            with ProcessPool(settings, context.now) as pool:
                built = build(context, pool, progress)
            if build_data:
                print_result([asdict(each) for each in built], as_json, show_training_data)
                return
        report = launch(context, progress)
    if this_rank().is_first:
        print_result(asdict(report), as_json, show_training)


def show_training_data(report: Any) -> None:
    """The anchor days of the training data."""
    tables.echo(*(f"{each['anchor']}  {each['split']:5}  {each['num_rows']:,} pairs" for each in report))
    if not report:
        tables.echo("The days are landed and encoded; the dense objective counts its answers when it trains.")


def show_training(report: Any) -> None:
    """A finished training."""
    what = {"dense": "answers", "paper": "question-answer pairs"}[report["objective"]]
    losses = ", ".join(f"{name.replace('_', ' ')} {loss:.3f}" for name, loss in report["losses"].items())
    tables.echo(
        f"model       {report['model']}",
        f"trained on  {report['answers']:,} {what} of {report['profiles']:,} profiles, {report['steps']:,} steps",
        f"losses      {losses}",
    )
    found = report["validation"]
    if "loss" in found:
        tables.echo(f"validation  loss {found['loss']:.4f} after step {found['step']:,}, whose weights were kept")
    if "top_answer" in found:
        tables.echo(f"validation  {found['top_answer']:.1%} of questions find their own answer first")


@click.command()
@click.option("--scenario", "scenarios", multiple=True, help="Scenario to tune; repeatable; default: all with labels.")
@click.option("--model", metavar="DIR", required=True, help="Directory of a trained model.")
@command_options
@computes
def tune(settings: Settings, as_json: bool, scenarios: tuple[str, ...], model: str) -> None:
    """Learn soft prompts of scenarios on a frozen model.

    Uses the labels that were known when the horizon of the last anchor had ended. Writes a copy of the model with all
    prompts that were tuned on it, for `updater model evaluate` and `updater model promote`.
    """
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool
    from updater.training.tuning.tune import join_prompts, tunable_scenarios, tune_scenarios

    context = open_writable(settings)
    with progress_lines(as_json) as progress, ProcessPool(settings, context.now) as pool:
        tuned = tune_scenarios(context, pool, model, scenarios or tunable_scenarios(settings), progress)
    report = {"model": join_prompts(context, model), "scenarios": [asdict(each) for each in tuned]}
    print_result(report, as_json, show_tuning)


def show_tuning(report: Any) -> None:
    """Tuned scenarios."""
    for each in report["scenarios"]:
        tasks = f"{each['tasks']} task{'' if each['tasks'] == 1 else 's'}"
        tables.echo(
            f"{each['scenario']:24} {each['labels']:,} labels of {tasks}, loss {each['loss']:.3f} "
            f"({each['chance']:.3f} by knowing only how common each answer is)"
            f"{'' if each['kept'] else '; no better than the plain question for other users, and left out'}"
        )
    tables.echo(f"model  {report['model']}")
