"""The page as one file."""

from updater.errors import ConfigError
from updater.lake import partitions
from updater.report.facts import Facts
from updater.report.html import render
from updater.report.view import view


def write_page(facts: Facts, path: str) -> None:
    """Write the page, atomically: a reader finds the old one or the new one.

    Args:
        facts: what it is made of.
        path: path or fsspec URL of the file.

    Raises:
        ConfigError: the file cannot be written.
    """
    page = render(view(facts))
    try:
        with partitions.write_file(path) as file:
            file.write(page.encode("utf-8"))
    except OSError as error:
        raise ConfigError(f"The page {path} cannot be written: {error.strerror or error}.") from None
