"""Feast's command line in this process, which has done the imports that take seconds."""

import os
import sys
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner, Result

from tests.conftest import ROOT
from updater.settings import Settings


def feast(settings: Settings, *args: str, yaml: Path | None = None, env: dict[str, str] | None = None) -> Result:
    """`feast -c feature_repo -f <state>/feature_store.yaml ARGS`; leaves modules, directory and search path alone."""
    from feast.cli.cli import cli

    yaml = yaml or Path(settings.paths.state, "feature_store.yaml")
    directory, modules, search_path, writes = Path.cwd(), dict(sys.modules), list(sys.path), sys.dont_write_bytecode
    # An entry point has the working directory's modules too, which is the repository after Feast has changed to it.
    sys.path.insert(0, "")
    try:
        with patch.dict(os.environ, env or {}):
            return CliRunner().invoke(cli, ["-c", str(ROOT / "feature_repo"), "-f", str(yaml), *args])
    finally:
        os.chdir(directory)
        sys.path[:] = search_path
        sys.dont_write_bytecode = writes
        for name in set(sys.modules) - set(modules):
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "feature_repo")):
                del sys.modules[name]
