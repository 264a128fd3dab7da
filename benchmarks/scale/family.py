"""What a process and all its descendants use together: memory, with shared pages counted once, and CPU time."""

from threading import Event, Thread

import psutil

SECONDS_BETWEEN_SAMPLES = 0.2


class Peak:
    """The most that a process and its descendants held together while the block ran, sampled."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._family = psutil.Process(pid)
        self._done = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_SAMPLES):
            try:
                family = [self._family, *self._family.children(recursive=True)]
            except psutil.Error:
                return
            self.bytes = max(self.bytes, sum(map(_held, family)))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and its living descendants so far."""
    root = psutil.Process(pid)
    return sum(map(_spent, [root, *root.children(recursive=True)]))


def _held(process: psutil.Process) -> int:
    """Proportional share of memory: pages that forked workers share count once."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
