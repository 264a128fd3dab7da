"""A small deployment on the command line, for tests of what people get wrong."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from tests.deployment import rows_below, write_config
from tests.factories import MODALITIES, bill, land_rows, search
from tests.processes import Outcome
from updater.cli import main
from updater.settings import Settings, load_settings

DAY, NEXT = date(2024, 5, 1), date(2024, 5, 2)
ONLY_KEYS = {"query": pa.string()}


@dataclass
class Shop:
    """A config in a directory, and the command line on it."""

    root: Path
    config: Path
    settings: Settings

    def call(self, *args: str) -> Outcome:
        done = CliRunner().invoke(main, [*args, "--config", str(self.config)])
        return Outcome(done.exit_code, done.stdout, done.stderr)

    def run(self, ds: date = DAY) -> Outcome:
        return self.call("run", "--ds", str(ds), "--json")

    def report(self, ds: date = DAY) -> dict[str, Any]:
        """The report of a run that works."""
        done = self.run(ds)
        assert (done.exit_code, done.stderr) == (0, "")
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def land(self, modality: str, rows: list[dict[str, Any]], ds: date = DAY, **more: Any) -> None:
        land_rows(self.settings.paths.lake, modality, ds, rows, **more)

    def land_table(self, modality: str, table: pa.Table, ds: date = DAY) -> Path:
        """Land a table as it is; returns its file."""
        directory = Path(self.settings.paths.lake, modality, f"ds={ds}")
        directory.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, directory / "part-000.parquet")
        (directory / "_SUCCESS").touch()
        return directory / "part-000.parquet"

    def good(self, ds: date = DAY, users: int = 3) -> None:
        """Land a day without anything wrong."""
        self.land("bill", [bill(f"u{n}", "e1", f"{ds} 10:00:00") for n in range(users)], ds)
        self.land("search", [search("u0", "e1", f"{ds} 11:00:00")], ds)

    def rejected(self, modality: str = "bill", ds: date = DAY) -> list[dict[str, Any]]:
        return rows_below(Path(self.settings.paths.state, "rejected", modality, f"ds={ds}"))

    def users(self, ds: date = DAY) -> set[str]:
        """Users whose embedding was published."""
        rows = rows_below(Path(self.settings.paths.state, "offline", "lapse_v1", f"ds={ds}"))
        return {row["user_id"] for row in rows}


def open_shop(root: Path, **tables: Any) -> Shop:
    """A shop without a state, whose config has the modalities of the factories."""
    config = write_config(root, modalities=MODALITIES, **tables)
    return Shop(root, config, load_settings(config, environ={}))


def refused(done: Outcome, code: int, *words: str) -> None:
    """One sentence with these words on standard error, and nothing else anywhere."""
    assert done.exit_code == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("updater: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip()[-1] in ".?"
    for word in words:
        assert word in done.stderr
