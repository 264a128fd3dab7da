"""`updater user serve` under a steady load: so many questions a second, each about one user of a deployment.

    python -m benchmarks.ask shop/updater.toml                 10 questions a second for 30 seconds
    python -m benchmarks.ask shop/updater.toml --rate 5        and what else can be given: --seconds

Every question is in other words, and users are drawn from those who have an event in the buffer. A question's time runs
from when it was due, so waiting behind a slow one counts. Server and client share the machine's cores. Prints one JSON
value; nothing is written.
"""

import argparse
import asyncio
import json
import os
import sys
from typing import Any

import numpy as np

from benchmarks.load import WARMING, free_port, listening, load
from updater.errors import NothingCommittedError
from updater.pipeline.asking.active_users import active_users
from updater.runtime.deployment import open_context
from updater.settings import Settings, load_settings


def main() -> None:
    """Measure once, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else "", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("config", help="config of a deployment with a committed window")
    parser.add_argument("--rate", type=float, default=10.0, help="questions a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they arrive")
    args = parser.parse_args()
    found = measure(load_settings(args.config), args.rate, args.seconds)
    print(json.dumps({**vars(args), **found}, indent=1))


def measure(settings: Settings, rate: float, seconds: float) -> dict[str, Any]:
    """Start a server over a deployment and ask it about one user after the other."""
    users = users_of(settings)
    drawn = np.random.default_rng(0).integers(len(users), size=WARMING + int(rate * seconds))
    bodies = [
        {"user_id": users[number], "query": f"Will this user buy for more than {count} next week?"}
        for count, number in enumerate(drawn)
    ]
    port = free_port()
    command = [sys.executable, "-m", "updater.cli", "user", "serve", "--port", str(port)]
    command += ["--config", str(settings.source)]
    with listening(command, port, os.environ) as server:
        found = asyncio.run(load(port, server, rate, bodies, "/embed", lambda content: b"embedding" in content))
    return {"users": len(users), "scenarios": len(settings.scenarios), **found}


def users_of(settings: Settings) -> list[str]:
    """Everybody who has an event in the buffer at the newest committed window."""
    context = open_context(settings)
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet; run `updater run --ds …`.")
    return [user for _, users in active_users(context, watermark) for user in users]


if __name__ == "__main__":
    main()
