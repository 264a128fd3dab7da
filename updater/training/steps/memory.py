"""Keeping freed memory in the process: training asks for the same large blocks in every step."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 256 * 2**20
_DEFAULTS = {_M_MMAP_MAX: 65_536, _M_TRIM_THRESHOLD: 128 * 2**10, _M_TOP_PAD: 0}
"""What glibc begins with, see mallopt(3)."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """For the length of a `with` block the C library neither gives freed memory back nor maps large blocks one by one.

    Each new mapping is filled with zeros page by page, which took more than a quarter of a step's time. Elsewhere than
    on glibc nothing changes. Afterwards the process, which may be a worker that does other things, is as it was.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    _set(library, {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: _TOP_PAD})
    try:
        yield
    finally:
        _set(library, _DEFAULTS)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
