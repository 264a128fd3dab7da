"""Which deployment a feature repository defines, and whether what is registered belongs to it.

The definitions of `feature_repo` are the same for all deployments; their names, paths and versions come from a config.
`updater` hands its own over. Feast's command line knows only a `feature_store.yaml`, so that file names the config that
it was made from and the state that it opens: a stray variable of the environment cannot register another state's views.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import click
import yaml  # type: ignore[import-untyped]

from updater.errors import ConfigError, UpdaterError
from updater.settings import Settings, load_settings

LAYOUT_TAG = ("layout", "daily")
"""Tag of a view whose rows lie in `ds=` partitions with event_timestamp = the end of day `ds`."""

_DEFINED: ContextVar[Settings | None] = ContextVar("defined", default=None)


@contextmanager
def defining(settings: Settings) -> Iterator[None]:
    """Within the block a feature repository that is imported defines the deployment of `settings`."""
    token = _DEFINED.set(settings)
    try:
        yield
    finally:
        _DEFINED.reset(token)


def repository_settings(default: Path) -> Settings:
    """The config of the deployment that a feature repository defines while it is imported.

    It is the one that `updater` is working for; in a command of Feast the one that its `feature_store.yaml` names,
    whatever UPDATER_CONFIG says; elsewhere the one that UPDATER_CONFIG names, or else `default`.

    Raises:
        ConfigError: the config is wrong.
        click.ClickException: the same in a command of Feast, which prints it as one sentence.
    """
    if (given := _DEFINED.get()) is not None:
        return given
    command = click.get_current_context(silent=True)
    options = command.find_root().obj if command else None
    if not isinstance(options, dict) or "FS_YAML_FILE" not in options:
        return load_settings(os.environ.get("UPDATER_CONFIG") or default)
    try:
        return settings_of(Path(options["FS_YAML_FILE"]))
    except UpdaterError as error:
        raise click.ClickException(str(error)) from error


def settings_of(file: Path) -> Settings:
    """The config that a `feature_store.yaml` was made from.

    Raises:
        ConfigError: the file does not name it, or it is missing, wrong, or of another state.
    """
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    engine = document.get("batch_engine") if isinstance(document, dict) else None
    if not isinstance(engine, dict) or not engine.get("config_file") or not engine.get("state"):
        raise ConfigError(
            f"{file} does not name the config that it was made from, so nothing was registered; "
            "run `updater init`, and use the feature_store.yaml that it writes to the state."
        )
    config_file, state = (file.parent / engine["config_file"]).resolve(), str(engine["state"])
    if not config_file.is_file():
        raise ConfigError(
            f"The config {config_file}, which {file} was made from, is not there any more; "
            "run `updater init` with the present one."
        )
    settings = load_settings(config_file)
    if not _same_place(settings.paths.state, _absolute(state, file.parent)):
        raise ConfigError(
            f"The state of {config_file} (or of UPDATER_PATHS__STATE) is {settings.paths.state} and not that of "
            f"{file}, so nothing was registered; run `updater init` to write the file of that state."
        )
    return settings


def check_source(config: Any, view: Any) -> None:
    """Make sure that a registered view's offline rows are those of the state that a Feast config opens.

    Raises:
        ConfigError: they are another state's, or their directory does not exist.
    """
    path = _own_path(config, view)
    if path and "://" not in path and not Path(path).is_dir():
        raise ConfigError(
            f"Feature view {view.name} is registered with the rows of {path}, which does not exist; "
            "restore it, or create it again with `updater init`."
        )


def prepare_sources(config: Any, views: Iterable[Any]) -> None:
    """Make the directories of views' offline rows: one that is missing later is then an error, and no day without rows.

    Raises:
        ConfigError: a view's rows are another state's.
    """
    for path in [_own_path(config, view) for view in views]:
        if path and "://" not in path:
            Path(path).mkdir(parents=True, exist_ok=True)


def _own_path(config: Any, view: Any) -> str | None:
    """Where the offline rows of a view of this project lie; None for any other view."""
    state = getattr(config.batch_engine, "state", None)
    path = getattr(view.batch_source, "path", None)
    key, value = LAYOUT_TAG
    if state is None or path is None or view.tags.get(key) != value:
        return None
    own = f"{_absolute(state, config.repo_path)}/offline/{view.name}"
    if not _same_place(path, own):
        raise ConfigError(
            f"Feature view {view.name} is registered with the rows of {path}, but this state's lie in {own}; "
            "register it again with `updater init`."
        )
    return str(path)


def _absolute(path: str, base: Path | None) -> str:
    return path if "://" in path else os.path.normpath(Path(base or ".").absolute() / path)


def _same_place(one: str, other: str) -> bool:
    # The same directory may be mounted or linked under two names.
    return one == other or ("://" not in one + other and os.path.realpath(one) == os.path.realpath(other))
