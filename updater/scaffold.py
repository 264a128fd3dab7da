"""A new deployment: a directory with a config, a feature repository, DAGs, and the next commands."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from updater.errors import ConfigError

SAMPLE_USERS = 200
SAMPLE_DAYS = 30
PLACEHOLDER_DAY = "YYYY-MM-DD"


@dataclass(frozen=True)
class NewReport:
    """What was written."""

    directory: str
    name: str
    files: list[str]
    """Relative to the directory."""
    sample_days: list[str]
    """First and last day of the made-up lake; empty without one."""


def new_deployment(directory: Path, today: date, sample_data: bool = False) -> NewReport:
    """Write a deployment into `directory`, which may exist; nothing in it is overwritten.

    Args:
        directory: where to write it; its last name becomes the deployment's.
        today: the first landing day that the schedule of a deployment without sample data runs.
        sample_data: land a small made-up lake that fits the config as well.

    Raises:
        ConfigError: the name cannot be part of a DAG's id, or a file is there already.
    """
    name = directory.absolute().name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ConfigError(f"{name!r} cannot be a deployment's name; use letters, digits, _ and -, a letter first.")
    days, values = _sample_days(sample_data), {"NAME": name}
    values |= {
        "DAY": days[0] if days else PLACEHOLDER_DAY,
        "NEXT_DAY": days[1] if days else PLACEHOLDER_DAY,
        "FIRST_DAY": days[1] if days else str(today),
        "USER": "u0000007" if days else "ID",
    }
    made = {_filled(path, values): _filled(source.read_text("utf-8"), values) for path, source in _templates()}
    taken = [path for path in made if (directory / path).exists()]
    if sample_data and (directory / "lake").exists():
        taken.append("lake")
    if taken:
        raise ConfigError(f"{directory} has {taken[0]} already, and nothing is overwritten; name another directory.")
    for path, content in made.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    if sample_data:
        _land_sample(directory / "lake")
    return NewReport(str(directory), name, sorted(made), days)


def _templates() -> list[tuple[str, Traversable]]:
    """Every template with its path below the deployment."""
    found: list[tuple[str, Traversable]] = []
    waiting = [("", files("updater.templates"))]
    while waiting:
        prefix, directory = waiting.pop()
        for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
            path = f"{prefix}{entry.name}"
            if entry.is_dir() and entry.name != "__pycache__":
                waiting.append((f"{path}/", entry))
            elif entry.is_file() and path != "__init__.py":
                found.append((path, entry))
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)


def _sample_days(wanted: bool) -> list[str]:
    """The last day but one and the last day of the made-up lake: the two that the page runs."""
    if not wanted:
        return []
    from updater.sources.synthetic import SyntheticSpec

    last = SyntheticSpec(num_users=SAMPLE_USERS, num_days=SAMPLE_DAYS).last_day
    return [str(last - timedelta(days=1)), str(last)]


def _land_sample(lake: Path) -> None:
    from updater.sources.synthetic import SyntheticSpec, land

    land(str(lake), SyntheticSpec(num_users=SAMPLE_USERS, num_days=SAMPLE_DAYS))
