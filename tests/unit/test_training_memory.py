"""Training changes how the C library keeps memory, and leaves no trace of that in the process."""

import ctypes
import sys

import pytest

from updater.training.memory import freed_memory_kept

LARGE = 64 * 2**20


class Counts(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and newer."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "k")
    )


@pytest.fixture
def library():
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallinfo2"):
        pytest.skip("this C library does not count its mappings")
    library.mallinfo2.restype = Counts
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    return library


def is_mapped(library):
    """Whether a large block becomes a mapping of its own, as it does unless somebody changed that."""
    before = library.mallinfo2().hblks
    block = library.malloc(LARGE)
    after = library.mallinfo2().hblks
    library.free(block)
    return after > before


def test_large_blocks_are_mapped_again_afterwards(library):
    with freed_memory_kept():
        assert not is_mapped(library)
    assert is_mapped(library)


def test_also_after_an_error(library):
    with pytest.raises(ValueError, match="no"), freed_memory_kept():
        raise ValueError("no")
    assert is_mapped(library)
