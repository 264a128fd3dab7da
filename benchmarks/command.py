"""Reading one user in a new process, by Feast's command line and from Python, over `python -c "import feast"`; and that
import as the project's own commands make it, in CPU seconds.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.row import Row, measured
from benchmarks.stores import FEATURE_REPO, make_settings, user_id, write_offline
from benchmarks.timing import TOP, in_turns, ratios
from updater.domain.columns import SUMMARIES_VIEW
from updater.settings import Settings
from updater.store.access import materialize
from updater.store.definitions import apply

FEAST = str(Path(sys.executable).with_name("feast"))
READ = """
import sys
from feast import FeatureStore

store = FeatureStore(fs_yaml_file=sys.argv[1])
print(store.get_online_features(["lapse_v1:lapse_embedding"], [{"user_id": sys.argv[2]}]).to_dict())
"""
IMPORT_TIME = re.compile(r"import time: +(\d+) \| +(\d+) \|( *)(\S+)")


def rows(smoke: bool) -> Iterator[Row]:
    """The command over the import, and the project's part of the command."""
    rounds = 1 if smoke else 5
    with TemporaryDirectory(prefix="updater-bench-") as root:
        settings = make_settings(Path(root), "sqlite")
        apply(settings)
        materialize(settings, write_offline(settings, 1_000), ["lapse_v1", SUMMARIES_VIEW])
        command = _command(settings)
        read = [sys.executable, "-c", READ, _yaml(settings), user_id(7)]
        for each in (command, read):
            shown = subprocess.run(each, env=_environ(settings), capture_output=True, text=True, check=True).stdout
            if not re.search(r"lapse_embedding.*\d\.\d", shown, re.DOTALL):
                raise RuntimeError(f"{each[0]} showed no embedding: {shown[:500]}")
        commands = {"whole": command, "read": read, "import": [sys.executable, "-c", "import feast"]}
        seconds = in_turns({name: partial(_seconds, each, settings) for name, each in commands.items()}, rounds)
        imports = {name: partial(_cpu_seconds, name) for name in ("updater.store", "feast")}
        of_imports = in_turns(imports, rounds)
        total, project, packages = _imports(command, settings)
    found = ratios(seconds["whole"], seconds["import"])
    most = ", ".join(f"{microseconds / total:.0%} {name}" for name, microseconds in packages.most_common(TOP))
    yield measured(
        "`feast get-online-features`, whole command, over `import feast`",
        found,
        "<= 1.3",
        note=(
            f"{min(seconds['whole']):.2f} s and {min(seconds['import']):.2f} s at best; "
            f"of all imports of the command, {total / 1e6:.2f} s, the most go to {most}"
        ),
    )
    yield measured(
        "a Python process that opens the feature store and reads one user, over `import feast`",
        ratios(seconds["read"], seconds["import"]),
        "<= 1.2",
        note=f"{min(seconds['read']):.2f} s at best",
    )
    yield measured(
        "`feast get-online-features`: imports that the project adds (its modules and what they load first), "
        "over all imports of the command",
        [project / total],
        note=f"{project / 1e6:.3f} s",
    )
    yield measured(
        "`import updater.store`, which imports Feast without typeguard's checks, over `import feast`, CPU seconds",
        ratios(of_imports["updater.store"], of_imports["feast"]),
        "<= 0.7",
        note=", ".join(f"{name}: {min(found):.2f} s" for name, found in of_imports.items()),
    )


def _command(settings: Settings) -> list[str]:
    request = ["get-online-features", "-e", f"user_id={user_id(7)}", "-f", "lapse_v1:lapse_embedding"]
    return [FEAST, "-c", str(FEATURE_REPO), "-f", _yaml(settings), *request]


def _yaml(settings: Settings) -> str:
    return f"{settings.paths.state}/feature_store.yaml"


def _environ(settings: Settings) -> dict[str, str]:
    return {**os.environ, "UPDATER_CONFIG": str(settings.source)}


def _seconds(command: list[str], settings: Settings) -> float:
    start = perf_counter()
    subprocess.run(command, env=_environ(settings), capture_output=True, check=True)
    return perf_counter() - start


def _cpu_seconds(module: str) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _imports(command: list[str], settings: Settings) -> tuple[int, int, Counter[str]]:
    """Microseconds of the command's imports: all, those that `updater` begins, and per package its modules' own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        env=_environ(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    packages: Counter[str] = Counter()
    project, depth_of_project = 0, None
    # A module is printed after those that it imports, and less deep: read backwards, it comes before them.
    for own, cumulative, indent, name in reversed(IMPORT_TIME.findall(done.stderr)):
        packages[name.partition(".")[0]] += int(own)
        if depth_of_project is not None and len(indent) <= depth_of_project:
            depth_of_project = None
        if depth_of_project is None and name.partition(".")[0] == "updater":
            project, depth_of_project = project + int(cumulative), len(indent)
    return packages.total(), project, packages
