"""The command that runs the protocol of UQABench on its files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from updater import tables
from updater.commands.common.command import VERBOSE, errors_as_sentences, log, print_result, progress_lines
from updater.domain.values import Device, check

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model",
    default="smollm2",
    show_default=True,
    metavar="NAME",
    help="Frozen language model that reads: packaged name, directory or Hugging Face id.",
)
@click.option("--config", metavar="FILE", type=FILE, help="Sizes and budgets (TOML); default: a small encoder.")
@click.option(
    "--newest",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Answer from the titles of the newest N items as text too; the reader's vocabulary has to be Qwen's.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="Where encoder and reader compute: cpu, cuda, cuda:N or auto (cuda if there is one).",
)
@click.option("--output", metavar="FILE", type=FILE, help="Write the report there too, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value for machines instead of tables.")
@click.option("--verbose", is_flag=True, help=VERBOSE)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def uqabench(
    directory: Path,
    model: str,
    config: Path | None,
    newest: int,
    device: str,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    debug: bool,
) -> None:
    """Run UQABench's protocol on its files in DIR.

    An encoder is pre-trained on the sequences, an adapter is aligned with a frozen language model, and each question is
    answered from one soft token. Nothing of a deployment is read or written.
    """
    log(verbose)
    with errors_as_sentences(debug, "nothing of it was kept."), progress_lines(as_json) as progress:
        from updater.fidelity.uqabench.config import read_config
        from updater.fidelity.uqabench.run import run_uqabench, write_report
        from updater.runtime.device import available_device

        sizes = read_config(config)
        check(Device, device, "--device")
        place = available_device(device, "--device")
        report = run_uqabench(directory, model, sizes, newest=newest, device=place, progress=progress)
        if output is not None:
            write_report(report, output)
    print_result(asdict(report), as_json, show_uqabench)


def show_uqabench(report: dict[str, Any]) -> None:
    """The result of `updater uqabench`."""
    learned, scores = report["pretraining"], report["scores"]
    tables.echo(
        f"encoder   {learned['steps']} steps; of {learned['users']:,} other users' newest items "
        f"{learned['recall_at_10']:.1%} are among the ten likeliest of {report['tables']['item']:,}",
        f"reader    {report['model']}, frozen; {report['input_tokens']:.0f} tokens a question",
    )
    systems = list(scores["micro"])
    rows = [
        [
            subtask,
            found["questions"],
            *(_with_interval(found["accuracy"][system]) for system in systems),
            _with_interval(found["above_no_user"], sign="+"),
        ]
        for subtask, found in scores["subtasks"].items()
    ]
    asked = sum(found["questions"] for found in scores["subtasks"].values())
    rows.append(["macro", asked, *(f"{100 * scores['macro'][system]:.1f}" for system in systems), ""])
    rows.append(["micro", asked, *(_with_interval(scores["micro"][system]) for system in systems), ""])
    columns = ["sub-task", "n", *systems, "difference"]
    tables.table("Right answers in % [95 % interval over users]; difference: vector minus no user", columns, rows)
    if report["ability"] is not None:
        tables.echo(report["ability"]["reason"], f"A question behind titles has {report['text_tokens']:.0f} tokens.")
    if scores["unknown_wording"]:
        tables.echo(f"Questions whose wording is that of no sub-task, not scored: {scores['unknown_wording']:,}")
    for title, name in (("chosen letters", "letter_shares"), ("right letters", "right_letter_shares")):
        tables.echo(f"{title:14}  {', '.join(f'{letter} {share:.1%}' for letter, share in report[name].items())}")
    tables.echo("In the manner of UQABench, with another encoder, adapter training and reader: no published number.")


def _with_interval(value: dict[str, float], sign: str = "") -> str:
    low, high = (f"{100 * value[end]:{sign}.0f}" for end in ("low", "high"))
    return f"{100 * value['value']:{sign}.1f} [{low}, {high}]"
