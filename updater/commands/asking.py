"""Commands about one user among the others."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.command import command_options, print_result, progress_bar
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
        f"as of {report['as_of']}, by {report['model']}{untrained}"
    )
    tables.table(title, ["", "user", "cosine"], rows)
