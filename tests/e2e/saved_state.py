"""A state on disk that commands run on, as a user runs them, and that can be put back to how it was."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from tests.deployment import write_config
from tests.processes import Outcome, fork_updater
from updater.settings import load_settings


class SavedState:
    """A config below `root` and its state. `clock` is the time of every command that is not given another."""

    def __init__(self, root: Path, clock: str, **config: Any) -> None:
        self.clock = clock
        self.config = str(write_config(root, **config))
        self.settings = load_settings(self.config, environ={})
        self.state = Path(self.settings.paths.state)
        self.saved = root / "saved"

    def call(self, *args: str, **env: str) -> Outcome:
        return fork_updater(*args, "--config", self.config, env={"SOURCE_DATE_EPOCH": self.clock, **env})

    def save(self) -> None:
        shutil.rmtree(self.saved, ignore_errors=True)
        shutil.copytree(self.state, self.saved)

    def restore(self) -> None:
        shutil.rmtree(self.state)
        shutil.copytree(self.saved, self.state)

    def online(self) -> dict[str, list[Any]]:
        """Every row of the online store, by table."""
        with sqlite3.connect(self.state / "online.db") as connection:
            names = connection.execute("select name from sqlite_master where type = 'table' order by name").fetchall()
            return {
                name: connection.execute(f'select * from "{name}" order by entity_key, feature_name').fetchall()
                for (name,) in names
            }
