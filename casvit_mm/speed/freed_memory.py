"""What becomes of memory that tensors on a CPU no longer need."""

import ctypes
import platform

# From malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def keep_freed_memory() -> bool:
    """Has this process keep freed memory for its next tensors.

    The C library hands large blocks back to the system as soon as they are freed. A forward pass
    asks for the same blocks again a moment later, and then the system clears them, page by page:
    the larger an image, the larger the share of the time that this takes. Here the blocks stay
    with the process instead, from now on and until it ends: it needs no more memory than it needed
    at its peak, but also goes on holding that much. Allocators that replace the C library's
    (jemalloc, tcmalloc) keep memory by themselves and are left alone.

    Returns:
        Whether that could be asked for: on Linux with glibc.

    Source: The GNU C Library, "Malloc Tunable Parameters".
    """
    if platform.system() != 'Linux' or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
