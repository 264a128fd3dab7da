"""The command that answers questions over HTTP."""

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result
from updater.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=6567,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 for any that is free.",
)
@command_options
@computes
def serve(settings: Settings, as_json: bool, host: str, port: int) -> None:
    """Answer any question about users over HTTP.

    What `updater user embed --query` computes, with the model loaded once. New windows and a promoted version count
    from the next question on. Who may ask, [auth] and [[permissions]] of the config say. Ctrl-C stops it.
    """
    from updater.serving.server import serve as listen

    def announce(url: str, model: str) -> None:
        print_result(
            {"url": url, "model": model},
            as_json,
            lambda value: tables.echo(f"model      {value['model']}", f"listening  {value['url']}/embed"),
        )

    listen(settings, host, port, announce)
