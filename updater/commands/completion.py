"""The command that prints what a shell needs to complete `updater`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands.

    \b
    bash  eval "$(updater completion bash)" in ~/.bashrc
    zsh   eval "$(updater completion zsh)" in ~/.zshrc, below compinit
    fish  updater completion fish > ~/.config/fish/completions/updater.fish
    """
    root = ctx.find_root()
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    click.echo(of_shell(root.command, {}, "updater", "_UPDATER_COMPLETE").source())
