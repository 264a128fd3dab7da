"""The product's own commands, given as a user gives them: each in a process of its own."""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def command(config: Path, environ: Mapping[str, str], *args: str) -> Any:
    """What `updater … --json` prints. Its lines of progress go where this process's do.

    Raises:
        subprocess.CalledProcessError: it failed, and said why.
    """
    whole = [sys.executable, "-m", "updater.cli", *args, "--json", "--config", str(config)]
    done = subprocess.run(whole, env={**os.environ, **environ}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def paths_below(root: Path) -> dict[str, str]:
    """Variables that put the lake and the state of a config below a directory."""
    return {
        "UPDATER_PATHS__LAKE": str(root / "lake"),
        "UPDATER_PATHS__STATE": str(root / "state"),
        "UPDATER_LEDGER__URL": f"sqlite:///{root}/state/ledger.db",
        "UPDATER_REGISTRY__URL": f"sqlite:///{root}/state/registry.db",
    }


def named(text: str) -> tuple[str, str]:
    """NAME=DIR of a command line: what a model is called, and where it lies."""
    name, separator, directory = text.partition("=")
    if not (name and separator and Path(directory, "config.json").exists()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name, = and the directory of a model")
    return name, directory
