"""Keeping freed memory in the process: training asks for the same large blocks in every step."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 256 * 2**20


def keep_freed_memory() -> None:
    """Have the C library neither give freed memory back nor map large blocks one by one.

    Each new mapping is filled with zeros page by page, which took more than a quarter of a step's time. Elsewhere than
    on glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, _TOP_PAD)
