"""Keeps memory that CPU tensors have freed for reuse."""

import ctypes
import platform

# From malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next tensors.

    The C library returns large blocks to the system as soon as they are freed. The next forward
    pass asks for the same blocks again, and the system has to clear them page by page: the larger
    the image, the larger the share of time that this takes. After this call, the process keeps the
    blocks until it ends: it needs no more memory than at its peak, but it does not release any
    either. Allocators that replace the C library's (jemalloc, tcmalloc) keep memory themselves and
    are not affected.

    Returns:
        Whether this is supported: True on Linux with glibc.

    Source: The GNU C Library, "Malloc Tunable Parameters".
    """
    if platform.system() != 'Linux' or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
