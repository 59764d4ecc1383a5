"""How the C library's allocator treats the tensors of a CPU run."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of handing it back to the system; elsewhere nothing happens.

    Training frees and asks for the same large buffers again and again. By default each goes back and forth
    with `mmap`, and the kernel clears every page anew: on a virtual machine this took most of the time of a
    CPU step (`benchmarks/allocator.py`).
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_TOP_PAD, _PAD_BYTES)
