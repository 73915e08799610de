"""Freed memory that stays with the process: page faults with and without, and where it does nothing."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from kdsr import allocator

FAULTS = """
import resource, sys
import numpy as np
from kdsr import allocator
kept = allocator.keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(40_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='speaks to glibc')
@pytest.mark.parametrize('off', ['', '0'])
def test_a_large_array_is_given_pages_once(off):
    """40 MB are some 9,766 pages of 4 KiB, fewer where the system has larger ones."""
    found = subprocess.run([sys.executable, '-c', FAULTS], env={**os.environ, allocator.OFF: off}, capture_output=True, text=True)
    kept, faults = found.stdout.split()
    assert kept == str(off != '0') and (int(faults) < 10) == (off != '0'), found


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.delenv(allocator.OFF, raising=False)
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())  # no mallopt in it
    assert not allocator.keep_memory()
    monkeypatch.setattr(sys, 'platform', 'darwin')
    monkeypatch.setattr(ctypes, 'CDLL', None)
    assert not allocator.keep_memory()
