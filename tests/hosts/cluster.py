"""Airflow with the CeleryExecutor on hosts: API server, scheduler and DAG processor on one, a worker on each other."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.conftest import ROOT
from tests.hosts.network import HOME, Host, hosts
from tests.hosts.relay import relay
from tests.hosts.services import Services, services
from tests.hosts.shop import NOW, SAMPLE, Shop, environment_with, on_a_host
from updater.sources.synthetic import SyntheticSpec

DAG = "daily_update"
PORT = 8080
HEARTBEAT_TIMEOUT = 40
"""Seconds after which the scheduler takes a task without a heartbeat for lost."""
PATIENCE = 900
"""Seconds that anything may take on a crowded machine."""
CONTROL = """
airflow() { exec "$python" -m airflow "$@"; }
(airflow db migrate)
(airflow scheduler --skip-serve-logs) &
(airflow dag-processor) &
airflow api-server
"""
Task = dict[str, Any]
Found = TypeVar("Found")


class Cluster:
    """A running Airflow, and the workers' hosts."""

    def __init__(self, control: Host, workers: Sequence[Host], shared: Services, shop: Shop, api: str) -> None:
        self.control, self.workers, self.services, self.shop = (
            control,
            {host.name: host for host in workers},
            shared,
            shop,
        )
        self._api = api
        self._token = ""

    @property
    def environment(self) -> dict[str, str]:
        """What every machine has to say: the same on all but for the metadata database, which workers do not know."""
        return {
            **on_a_host(self.services.environment),
            "UPDATER_DAGS_START_DATE": "2099-01-01",  # runs by hand only
            "UPDATER_RUN__PROCESSES": "1",
            "AIRFLOW_HOME": str(HOME / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # hosts have no name server
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._api}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": "the same on all machines, " * 3,
            "AIRFLOW__CELERY__BROKER_URL": self.services.broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self.services.airflow}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # the first answer of a cold API server takes long
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        }

    def start(self, cores: Sequence[int | None] = ()) -> None:
        """Start all; the workers on one core each if asked for."""
        database = self.services.airflow
        self._furnish(self.control)
        self.control.start(
            ["env", f"python={sys.executable}", "sh", "-e", "-c", CONTROL],
            self.environment
            | {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.replace("+psycopg:", "+psycopg_async:"),
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__API__PORT": str(PORT),
                "AIRFLOW__API__BASE_URL": self._api,
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            },
        )
        for name, core in zip(self.workers, cores or [None] * len(self.workers), strict=True):
            self.start_worker(name, core)
        self.until("the DAG is known", self._knows_the_dag)
        for name in self.workers:
            self.until_ready(name)

    def start_worker(self, name: str, core: int | None = None) -> None:
        """Start a worker's host, with nothing on it that was there before."""
        host = self.workers[name]
        shutil.rmtree(host.directory, ignore_errors=True)
        host.log.unlink(missing_ok=True)
        self._furnish(host)
        command = ["celery", "worker", "--celery-hostname", name, "--skip-serve-logs", "--without-mingle"]
        host.start([sys.executable, "-m", "airflow", *command, "--without-gossip"], self.environment, core)

    def until_ready(self, name: str) -> None:
        """Wait until a worker takes tasks."""
        log = self.workers[name].log
        self.until(f"{name} is ready", lambda: f"{name} ready." in log.read_text(errors="replace"))

    def trigger(self, **conf: Any) -> str:
        """Begin a run by hand; its id."""
        run = self._ask("POST", f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def state(self, run: str) -> str:
        """State of a run."""
        return str(self._ask("GET", f"/dags/{DAG}/dagRuns/{run}")["state"])

    def tasks(self, run: str) -> list[Task]:
        """Task instances of a run."""
        found: list[Task] = self._ask("GET", f"/dags/{DAG}/dagRuns/{run}/taskInstances?limit=100")["task_instances"]
        return found

    def finish(self, run: str) -> list[Task]:
        """Wait for the end of a run, which has to succeed; its task instances."""
        self.until(f"{run} ends", lambda: self.state(run) in ("success", "failed"))
        tasks = self.tasks(run)
        assert self.state(run) == "success", {(task["task_id"], task["map_index"]): task["state"] for task in tasks}
        return tasks

    def running(self, run: str, task_id: str) -> Task:
        """Wait until a worker runs a task of a run; that one."""

        def find() -> Task | None:
            started = [task for task in self.tasks(run) if task["task_id"] == task_id and task["state"] == "running"]
            return started[0] if started else None

        return self.until(f"{task_id} runs", find)

    def until(self, what: str, find: Callable[[], Found | None]) -> Found:
        """Ask until the answer is one; a machine that should be there and is not ends it."""
        deadline = monotonic() + PATIENCE
        while not (found := find()):
            if not self.control.running:
                raise AssertionError(f"Airflow ended before {what}; see {self.control.log}")
            if monotonic() > deadline:
                raise AssertionError(f"not after {PATIENCE} seconds: {what}; see {self.control.log}")
            sleep(0.3)
        return found

    def _furnish(self, host: Host) -> None:
        """Give a host what is installed on one: the DAG file, the config and the feature repository."""
        (host.directory / "dags").mkdir(parents=True)
        shutil.copy(ROOT / "dags" / f"{DAG}.py", host.directory / "dags")
        shutil.copytree(self.shop.directory, host.directory / "shop")

    def _knows_the_dag(self) -> bool:
        try:
            if not self._token:
                with urlopen(f"{self._api}/auth/token", timeout=30) as answer:
                    self._token = json.load(answer)["access_token"]
            self._ask("GET", f"/dags/{DAG}")
        except (HTTPError, URLError, ConnectionError, TimeoutError):
            return False
        return True

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        with urlopen(Request(f"{self._api}/api/v2{path}", content, headers, method=method), timeout=60) as answer:
            return json.load(answer)


@contextmanager
def cluster(
    root: Path, names: Sequence[str], spec: SyntheticSpec = SAMPLE, cores: Sequence[int | None] = ()
) -> Iterator[Cluster]:
    """An initialized deployment, an Airflow and workers on hosts called `names`, ready for runs."""
    root.mkdir(parents=True, exist_ok=True)
    with (
        hosts(root, ["control", *names]) as (control, *workers),
        services(root, control.gateway) as shared,
        relay(control.gateway, PORT, to=control.address) as port,
        environment_with(shared.s3 | {"NO_PROXY": "*", "SOURCE_DATE_EPOCH": str(int(NOW.timestamp()))}),
    ):
        shop = Shop.create(root / "shop", shared.environment, spec)
        made = Cluster(control, workers, shared, shop, f"http://{control.gateway}:{port}")
        made.start(cores)
        yield made
