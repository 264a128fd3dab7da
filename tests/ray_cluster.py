"""A Ray cluster for tests: one machine, started by a process that ends it when the test process lets go of its input.

Ports are those that the system gives: no other cluster of this machine is met or stopped.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
NUM_CPUS = 2
_HOLDER = f"""
import sys, ray
context = ray.init(
    address="local", num_cpus={NUM_CPUS}, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False,
    _temp_dir=sys.argv[1], _node_ip_address="127.0.0.1",
)
print(context.address_info["address"], flush=True)
sys.stdin.read()
"""


STARTS = 3
"""Ray gives a head thirty seconds to start, which a machine with much else to do may not have for it."""


@contextmanager
def cluster_running() -> Iterator[str]:
    """The address of a cluster, for the length of a `with` block."""
    # Paths of its sockets may have 107 characters at most.
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        for _ in range(STARTS):
            with _holder(scratch) as address:
                if address:
                    yield address
                    return
        raise RuntimeError(f"No Ray cluster started in {STARTS} tries; what it wrote is above.")


@contextmanager
def _holder(scratch: str) -> Iterator[str]:
    """The process that holds a cluster: its address, or nothing if it did not start."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, scratch],
        cwd=ROOT,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
