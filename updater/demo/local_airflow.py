"""A local Airflow with the DAGs of this checkout: `python -m updater.demo.local_airflow`, or `make airflow`.

It listens on loopback only and keeps its metadata in SQLite, which is enough for these DAGs on one machine. It starts
the four components itself: `airflow standalone` opens two log servers to the network, and SIGTERM makes it leave its
children behind.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.request import urlopen

import click
import psutil  # type: ignore[import-untyped]

from updater.airflow.config import START_DATE
from updater.demo.airflow_internals import is_healthy
from updater.demo.environment import CHECKOUT, airflow_environment
from updater.errors import ConfigError, UpdaterError
from updater.settings import Settings, load_settings

COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
    "scheduler": ("--skip-serve-logs",),
}
"""Options by component, in the order of starting."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS = 300
"""How long the components may take to become healthy."""
STOP_SECONDS = 15
"""How long components may take to stop before they are killed."""
RUNNING = "daily_update is running."
PAUSED = "daily_update starts paused; unpause it there, or start with --unpause."
HOW_TO = """\
Airflow is ready at {url} (user admin, password in {home}/simple_auth_manager_passwords.json.generated).
{schedule} One landing day by hand, from another shell:
  AIRFLOW_HOME={home} {airflow} dags trigger daily_update --conf '{{"ds": "{day}"}}'
Logs are in {home}/logs. Ctrl-C stops everything."""


class ComponentError(UpdaterError):
    """A component of Airflow ended, or did not become healthy."""


class _Stop(BaseException):
    """One of SIGNALS arrived."""


@click.command()
@click.option("--config", envvar="UPDATER_CONFIG", default=str(CHECKOUT / "configs" / "demo.toml"), help="Config file.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Loopback port of the user interface.",
)
@click.option("--unpause", is_flag=True, help="Let the schedule of daily_update run at once.")
@click.option("--home", type=click.Path(path_type=Path), help="Airflow's files; default: .airflow/<config> here.")
def main(config: str, port: int, unpause: bool, home: Path | None) -> None:
    """Start a local Airflow, say how to use it, and stop it on Ctrl-C or SIGTERM."""
    # Children must not inherit an ignored SIGINT, as the background jobs of a shell have it.
    for number in SIGNALS:
        signal.signal(number, _raise_stop)
    try:
        settings = load_settings(config)
        check_free(port)
        home = (home or CHECKOUT / ".airflow" / settings.source.stem).absolute()
        _serve(home, local_environment(home, settings, port, unpause, os.environ), unpause)
    except _Stop:
        click.echo("Stopped.")
    except UpdaterError as error:
        click.echo(f"Error: {error}", sys.stderr)
        raise SystemExit(error.exit_code) from None


def check_free(port: int) -> None:
    """Raise ConfigError if something listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used ({error.strerror}); name another with --port.") from None


def local_environment(
    home: Path, settings: Settings, port: int, unpause: bool, environ: Mapping[str, str]
) -> dict[str, str]:
    """Variables for all components. The schedule starts with the first day that is not processed yet."""
    url = f"http://127.0.0.1:{port}"
    first = environ.get(START_DATE) or first_day(settings)
    return {
        **airflow_environment(home, settings, environ),
        **({START_DATE: first} if first else {}),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(not unpause),
    }


def first_day(settings: Settings) -> str | None:
    """The landing day after the last completed window, else the oldest that has landed; None if there is neither."""
    from updater.lake.partitions import join, landed_days
    from updater.ledger import open_reader

    try:
        watermark = open_reader(settings.ledger.url).watermark()
    except UpdaterError as error:
        click.echo(f"Runs will fail for now: {error}")
        watermark = None
    if watermark is not None:
        return (watermark + timedelta(days=1)).isoformat()
    roots = [join(settings.paths.lake, modality.name) for modality in settings.modalities if not modality.optional]
    return min((days[0].isoformat() for root in roots if (days := landed_days(root))), default=None)


def _serve(home: Path, environment: Mapping[str, str], unpause: bool) -> None:
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    click.echo(f"Starting Airflow in {home}; this takes up to a minute ...")
    if not _succeeds(("db", "migrate"), environment, logs):
        raise ComponentError(f"the database of Airflow cannot be made; see {logs}/db.log.")
    url = environment["AIRFLOW__API__BASE_URL"]
    with _running(environment, logs) as components:
        _wait_until_healthy(url, components)
        if unpause:
            _succeeds(("dags", "unpause", "daily_update", "--yes"), environment, logs)
        click.echo(
            HOW_TO.format(
                url=url,
                home=home,
                airflow=Path(sys.executable).with_name("airflow"),
                schedule=RUNNING if unpause else PAUSED,
                day=environment.get(START_DATE, "YYYY-MM-DD"),
            )
        )
        while True:
            _check(components)
            time.sleep(1)


def _airflow(arguments: Sequence[str], environment: Mapping[str, str], logs: Path) -> subprocess.Popen[bytes]:
    """Start one command of Airflow as leader of its own session, so that a Ctrl-C reaches only us."""
    with (logs / f"{arguments[0]}.log").open("ab") as log:
        command = [sys.executable, "-m", "airflow", *arguments]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _succeeds(arguments: Sequence[str], environment: Mapping[str, str], logs: Path) -> bool:
    process = _airflow(arguments, environment, logs)
    try:
        return process.wait() == 0
    finally:
        _kill_group(process)


@contextmanager
def _running(environment: Mapping[str, str], logs: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    components: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, options in COMPONENTS.items():
            components[name] = _airflow((name, *options), environment, logs)
        yield components
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        click.echo("Stopping ...")
        # The scheduler goes first, so that its tasks can still report to the API server.
        scheduler = components.pop("scheduler", None)
        _stop([scheduler] if scheduler else [])
        _stop(list(components.values()))


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End components and everything below them."""
    family = {process: _descendants(process) for process in processes}
    for process in processes:
        for child in family[process]:
            # A task has a process group of its own and answers SIGTERM with nothing; the library is made to be killed.
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getpgid(child.pid) != process.pid:
                    child.kill()
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        for child in family[process]:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        _kill_group(process)


def _descendants(process: subprocess.Popen[bytes]) -> list[Any]:
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_healthy(url: str, components: Mapping[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(url):
        _check(components)
        if time.monotonic() > deadline:
            raise ComponentError(f"Airflow is not healthy after {START_SECONDS} seconds; see its logs.")
        time.sleep(1)


def _check(components: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, process in components.items():
        if process.poll() is not None:
            raise ComponentError(f"the {name} of Airflow ended with exit code {process.returncode}; see {name}.log.")


def _healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:
            return is_healthy(json.load(answer))
    except (OSError, ValueError):
        return False


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


if __name__ == "__main__":
    main()
