"""Commands about textual profiles as such; those about one user's are among the commands about users."""

import click

from updater.commands.groups import CommandGroup
from updater.commands.profile_train import train_texts
from updater.commands.profile_update import update_texts


@click.group(cls=CommandGroup)
def profile() -> None:
    """Keep textual profiles by a language model."""


profile.place("Build", train_texts)
profile.place("Run", update_texts)
