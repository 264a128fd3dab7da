"""How many threads torch may use."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as the workers do.

    Small matrix products lose more at the barriers of a second thread than they gain, and a thread that has to wait for
    its processor makes all others wait.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
