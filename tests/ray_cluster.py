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


@contextmanager
def cluster_running() -> Iterator[str]:
    """The address of a cluster, for the length of a `with` block."""
    # Paths of its sockets may have 107 characters at most.
    with TemporaryDirectory(prefix="ray-", dir="/tmp") as scratch:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, scratch],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the cluster did not start"
            yield address
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
