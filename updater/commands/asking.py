"""Commands about one user among the others."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result, progress_bar
from updater.domain.window import minute
from updater.settings import Settings


@click.command()
@click.option("--user-id", required=True, metavar="U", help="The user's id in the lake.")
@click.option("--scenario", required=True, help="A scenario of the config.")
@click.option("--top", type=click.IntRange(min=1), default=50, show_default=True, help="How many look-alikes.")
@command_options
def similar(settings: Settings, as_json: bool, user_id: str, scenario: str, top: int) -> None:
    """Find users whose embeddings are most like a user's.

    By the cosine of the published embeddings for a scenario, exactly, among everybody who has an event in the buffer.
    """
    from updater.pipeline.asking.similar import similar_users
    from updater.runtime.deployment import open_context

    with progress_bar(as_json) as progress:
        report = similar_users(open_context(settings), user_id, scenario, top, progress)
    print_result(asdict(report), as_json, show_look_alikes)


def show_look_alikes(report: dict[str, Any]) -> None:
    """The result of `updater user similar`."""
    untrained = "" if report["trained"] else " (untrained)"
    rows = [[place, one["user_id"], f"{one['cosine']:.4f}"] for place, one in enumerate(report["look_alikes"], 1)]
    title = (
        f"Nearest of {report['num_compared']:,} users to {report['user_id']} for {report['scenario']}, "
        f"as of {minute(report['as_of'])} UTC, by {report['model']}{untrained}"
    )
    tables.table(title, ["", "user", "cosine"], rows)


@click.command()
@click.option("--user-id", required=True, metavar="U", help="The user's id in the lake.")
@click.option("--scenario", required=True, help="A scenario of the config.")
@click.option(
    "--direction",
    metavar="FILE",
    help="Coefficients of a linear model for the scenario's columns: a .npy file or a JSON list; default: the "
    "embedding itself.",
)
@click.option("--html", "html_file", metavar="FILE", help="Page to write, with pictures.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Texts and events to print.")
@command_options
@computes
def explain(
    settings: Settings,
    as_json: bool,
    user_id: str,
    scenario: str,
    direction: str | None,
    html_file: str | None,
    top: int,
) -> None:
    """Show what moves a user's embedding.

    Each modality, text and event is left out and the model is asked again, exactly. No effect is a cause, and they do
    not add up.
    """
    from updater.explanation.direction import read_direction
    from updater.explanation.explain import explain_user
    from updater.runtime.deployment import open_context

    if html_file is not None:
        # Before anything is computed: what it needs may not be installed.
        from updater.explanation.html import write_page
    width = settings.model.embedding_dim
    along = None if direction is None else read_direction(direction, width)
    with progress_bar(as_json) as progress:
        found = explain_user(open_context(settings), user_id, scenario, along, direction or "", progress)
    if html_file is not None:
        write_page(found, html_file)
    print_result(asdict(found), as_json, lambda report: show_explanation(report, top))
    if html_file is not None and not as_json:
        tables.echo(f"Wrote {html_file}.")


def show_explanation(report: dict[str, Any], top: int) -> None:
    """The result of `updater user explain`: the `top` largest effects of texts and events."""
    tables.echo(
        f"as of      {minute(report['as_of'])} UTC",
        f"model      {report['model']}" + ("" if report["trained"] else "  (untrained)"),
        f"query      {report['query']}",
        f"direction  {report['direction']}, score {report['score']:.4f}",
    )
    head = ["effect", "moved", "events", "modality"]
    for title, name, shown, more in (
        ("Modalities left out", "modalities", len(report["modalities"]), []),
        (f"Texts left out, {report['num_texts']:,} in all", "texts", top, ["text"]),
        (f"Events left out, {report['num_events']:,} in all", "events", top, ["time (UTC)", "text"]),
    ):
        rows = [
            [f"{one['effect']:+.4f}", f"{one['moved']:.4f}", one["num_events"], one["modality"], *_what(one, more)]
            for one in report[name][:shown]
        ]
        tables.table(title, [*head, *more], rows)
    tables.echo("Left-out effects are not causes and do not add up; positive: it moves the score up.")


def _what(one: dict[str, Any], columns: list[str]) -> list[str]:
    """When it happened and what it says, as far as a table has columns for it."""
    said = {"time (UTC)": minute(one["event_time"] or "–"), "text": one["text"]}
    return [said[column] for column in columns]
