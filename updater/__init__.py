"""Daily-fresh, scenario-adaptive user embeddings in a company's own feature store."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from updater.api import Deployment

__version__ = "0.1.0"
__all__ = ["open"]


def open(config: "str | Path | None" = None) -> "Deployment":
    """The deployment of a config file: see `updater.api`.

    Args:
        config: the TOML file; None for the one that UPDATER_CONFIG names, then `./updater.toml`.

    Raises:
        ConfigError: the file is missing or a value in it is wrong.
    """
    # Feast imports this package for every reader of features, who needs nothing of what follows.
    from updater.api import Deployment
    from updater.settings import load_settings

    return Deployment(load_settings(config))
