"""What every command does with errors."""

import click
import pytest
from click.testing import CliRunner

from tests.conftest import SettingsFactory
from updater.commands.common.command import EXTRAS, command_options


@pytest.mark.parametrize(
    ("missing", "code", "said"),
    [
        ("torch", 2, "This command needs the package torch; run `pip install 'updater[run]'`."),
        ("airflow.sdk", 2, "This command needs the package airflow; run `pip install 'updater[airflow]'`."),
        ("something_else", 1, "ModuleNotFoundError"),
    ],
)
def test_a_missing_package_names_the_extra_that_installs_it(
    make_settings: SettingsFactory, missing: str, code: int, said: str
) -> None:
    @click.command()
    @command_options
    def command(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    done = CliRunner().invoke(command, ["--config", str(make_settings().source)])
    assert (done.exit_code, said in done.stderr) == (code, True)


def test_every_extra_is_declared() -> None:
    import tomllib

    from tests.conftest import ROOT

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(declared)
