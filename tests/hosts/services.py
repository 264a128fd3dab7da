"""What hosts have in common: PostgreSQL, Redis and an S3 server, under this machine's address, and nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from redis.connection import parse_url
from sqlalchemy import make_url

from tests.chaos import servers
from tests.hosts.network import Host
from tests.hosts.relay import relay
from tests.s3_server import environment, s3_running


class Trap:
    """Switches a host off in the middle of its work, at a request to the S3 server."""

    def __init__(self) -> None:
        self.closed = Event()
        self._set: tuple[Host, bytes, int] | None = None
        self._lock = Lock()

    def set(self, host: Host, method: str, number: int) -> None:
        """At the `number`-th request of a method from now on, which the server does not get to see."""
        with self._lock:
            self.closed.clear()
            self._set = (host, f"{method} ".encode(), number)

    def watch(self, sender: str, data: bytes) -> None:
        """Look at what a host sends to the S3 server."""
        with self._lock:
            if self._set is None:
                return
            host, method, left = self._set
            if sender == host.address and data.startswith(method):
                left -= 1
                self._set = (host, method, left) if left else None
                if not left:
                    host.kill()
                    self.closed.set()
                    raise ConnectionAbortedError


@dataclass(frozen=True)
class Services:
    """Where the servers are, as hosts and this machine say it."""

    ledger: str
    registry: str
    airflow: str
    """Database of Airflow's metadata and of Celery's results."""
    broker: str
    online: str
    bucket: str
    s3: dict[str, str]
    trap: Trap

    @property
    def environment(self) -> dict[str, str]:
        """What makes a deployment of `updater new` one of these servers."""
        return {
            **self.s3,
            "UPDATER_PATHS__LAKE": f"s3://{self.bucket}/lake",
            "UPDATER_PATHS__STATE": f"s3://{self.bucket}/state",
            "UPDATER_LEDGER__URL": self.ledger,
            "UPDATER_REGISTRY__URL": self.registry,
            "UPDATER_ONLINE_STORE__TYPE": "redis",
            "UPDATER_ONLINE_STORE__CONNECTION_STRING": self.online,
        }


@contextmanager
def services(root: Path, address: str) -> Iterator[Services]:
    """Empty databases and an empty bucket, reached at `address` of this machine."""
    with ExitStack() as stack:
        redis = parse_url(servers.redis_url())
        postgres = make_url(servers.postgres_url())
        redis_port = stack.enter_context(relay(address, int(redis.get("port", 6379))))
        postgres_port = stack.enter_context(relay(address, postgres.port or 5432))
        trap, s3 = Trap(), stack.enter_context(s3_running(root / "s3"))
        s3_port = stack.enter_context(relay(address, s3.port, trap.watch))
        urls = []
        for _ in range(3):
            made = stack.enter_context(servers.postgres())
            made.empty()
            url = make_url(made.url).set(host=address, port=postgres_port)
            urls.append(url.render_as_string(hide_password=False))
        broker, online = (
            stack.enter_context(servers.redis_database()).connection_string.partition(",db=")[2] for _ in range(2)
        )
        yield Services(
            *urls,
            broker=f"redis://{address}:{redis_port}/{broker}",
            online=f"{address}:{redis_port},db={online}",
            bucket=s3.bucket(),
            s3={**environment(s3.port), "AWS_ENDPOINT_URL": f"http://{address}:{s3_port}"},
            trap=trap,
        )
