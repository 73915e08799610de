"""Freed memory stays with the process, where glibc would give it back to the system after every large array."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # malloc.h
OFF = 'KDSR_MALLOC'  # 0 leaves the allocator as it is


def keep_memory():
    """Has glibc keep what is freed: True where it does, False elsewhere (musl, macOS, Windows) and where $KDSR_MALLOC is 0.

    A step of training frees hundreds of megabytes and asks for them again. By default each large array is mapped anew, and the
    system clears it page by page: that is a tenth of a small student's step (16,000 page faults before, none after). Only
    one arena, since the others cannot grow beyond 64 MB and would map again. It works at any time, best before jax starts.
    """
    if os.environ.get(OFF) == '0' or not sys.platform.startswith('linux'):
        return False
    try:
        change = ctypes.CDLL('libc.so.6').mallopt  # glibc's name, musl has another
    except (OSError, AttributeError):
        return False
    wanted = {MMAP_MAX: 0, ARENA_MAX: 1, TRIM_THRESHOLD: 2**31 - 1}
    return all([change(name, value) for name, value in wanted.items()])
