"""Work that processes that train together deal out among themselves."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.processes import fork_server
from updater.training.steps.distributed import Rank, deal_out, process_group


def _square(number: int) -> tuple[int, np.ndarray, int]:
    return number**2, np.full(number, number), os.getpid()


def _deal_out(directory: Path, index: int, port: int, num_jobs: int) -> None:
    os.environ.update(RANK=str(index), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with process_group(Rank(index, 2)):
        found = list(deal_out(_square, range(num_jobs), Rank(index, 2)))
    assert [square for square, _, _ in found] == [number**2 for number in range(num_jobs)]
    assert all(array.tolist() == [number] * number for number, (_, array, _) in enumerate(found))
    (directory / str(index)).write_text(" ".join(str(pid == os.getpid()) for _, _, pid in found))


@pytest.mark.parametrize("num_jobs", [0, 1, 2, 5])
def test_every_process_gets_all_results_in_order_and_does_its_share(tmp_path: Path, num_jobs: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [fork_server().Process(target=_deal_out, args=(tmp_path, index, port, num_jobs)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    mine = [(tmp_path / str(index)).read_text().split() for index in range(2)]
    assert mine[0] == [str(number % 2 == 0) for number in range(num_jobs)]
    assert mine[1] == [str(number % 2 == 1) for number in range(num_jobs)]


def test_alone_a_process_does_everything() -> None:
    assert [square for square, _, _ in deal_out(_square, range(3), Rank())] == [0, 1, 4]
