"""`feast serve` under a steady load: so many requests a second arrive, whether or not the ones before were answered.

    python -m benchmarks.serve                              200 requests a second for 30 seconds, two worker processes
    python -m benchmarks.serve --rate 100 --workers 1       and what else can be given: --seconds, --users, --store

Each request asks for all features of one user of a service of three scenarios, over a connection that is kept. Its time
runs from when it was due, so waiting behind a slow one counts. Server and client share the machine's cores. Prints one
JSON value; nothing is written.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.load import WARMING, free_port, listening, load
from benchmarks.stores import FEATURE_REPO, SCENARIOS, SERVICE, STORES, make_settings, user_id, write_offline
from updater.domain.columns import SUMMARIES_VIEW, scenario_view
from updater.settings import Settings
from updater.store.access import materialize
from updater.store.definitions import apply

FEAST = str(Path(sys.executable).with_name("feast"))


def main() -> None:
    """Measure once, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else "", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they arrive")
    parser.add_argument("--workers", type=int, default=2, help="processes of the server")
    parser.add_argument("--users", type=int, default=20_000, help="users in the online store")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="type of the online store")
    parser.add_argument(
        "--max-requests", type=int, default=0, help="requests after which a worker is replaced; 0: never"
    )
    args = parser.parse_args()
    with TemporaryDirectory(prefix="updater-bench-") as root:
        settings = make_settings(Path(root), args.store)
        apply(settings)
        materialize(
            settings, write_offline(settings, args.users), [*(scenario_view(n, 1) for n in SCENARIOS), SUMMARIES_VIEW]
        )
        found = measure(settings, args.workers, args.max_requests, args.rate, args.seconds, args.users)
    print(json.dumps({**vars(args), **found}, indent=1))


def measure(
    settings: Settings, workers: int, max_requests: int, rate: float, seconds: float, num_users: int
) -> dict[str, Any]:
    """Start the feature server of a deployment and ask it for one user after the other."""
    port = free_port()
    yaml = f"{settings.paths.state}/feature_store.yaml"
    command = [FEAST, "-c", str(FEATURE_REPO), "-f", yaml, "serve", "--port", str(port), "--no-access-log"]
    command += ["--workers", str(workers), "--max-requests", str(max_requests)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UPDATER_")}
    users = np.random.default_rng(0).integers(num_users, size=WARMING + int(rate * seconds))
    bodies = [{"feature_service": SERVICE, "entities": {"user_id": [user_id(int(user))]}} for user in users]
    with listening(command, port, environ) as server:
        return asyncio.run(load(port, server, rate, bodies, "/get-online-features", _has_values))


def _has_values(content: bytes) -> bool:
    return b"NOT_FOUND" not in content and b"PRESENT" in content


if __name__ == "__main__":
    main()
