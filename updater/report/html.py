"""The page as HTML that needs nothing else. Templates make it, and escape every text."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from updater.report.view import PageView

COLORS = 7
"""Colors of series that the style has."""


def render(page: PageView, plan_link: str = "") -> str:
    """The page, for a file or a server.

    Args:
        page: what stands on it.
        plan_link: where a browser goes to have the next day planned; a file has no such place.
    """
    made: str = _templates().get_template("report.html.j2").render(page=page, plan_link=plan_link, COLORS=COLORS)
    return made


def render_error(title: str, said: str) -> str:
    """A page that says in one sentence why there is none."""
    made: str = _templates().get_template("error.html.j2").render(title=title, said=said)
    return made


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("updater.report"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
