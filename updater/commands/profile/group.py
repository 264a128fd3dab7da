"""The group `updater profile`: textual profiles as such; what is about one user is among the commands about users."""

import click

from updater.commands.common.groups import CommandGroup
from updater.commands.profile.train import train_texts
from updater.commands.profile.update import update_texts


@click.group(cls=CommandGroup)
def profile() -> None:
    """Keep textual profiles by a language model."""


profile.place("Build", train_texts)
profile.place("Run", update_texts)
