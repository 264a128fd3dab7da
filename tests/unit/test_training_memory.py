"""Training changes how the C library keeps memory, and leaves no trace of that in the process.

Each case has a process of its own: one that has freed large blocks before need not map a new one.
"""

import ctypes
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LARGE = 64 * 2**20


class Counts(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and newer."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "k")
    )


def c_library():
    """The C library, if it counts its mappings."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = Counts
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    return library


def is_mapped():
    """Whether a large block becomes a mapping of its own, as it does unless somebody changed that."""
    library = c_library()
    before = library.mallinfo2().hblks
    block = library.malloc(LARGE)
    after = library.mallinfo2().hblks
    library.free(block)
    return after > before


@pytest.mark.parametrize("ending", ["pass", "raise ValueError"])
def test_large_blocks_are_mapped_again_afterwards(ending):
    if c_library() is None:
        pytest.skip("this C library does not count its mappings")
    code = f"""
from contextlib import suppress
from tests.unit.test_training_memory import is_mapped
from updater.training.steps.memory import freed_memory_kept

found = [is_mapped()]
with suppress(ValueError), freed_memory_kept():
    found.append(is_mapped())
    {ending}
found.append(is_mapped())
assert found == [True, False, True], found
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
