"""Interleaved timing: every repetition times each candidate once, in turn, so that a busy machine slows all of them alike."""

import ctypes
import gc
import importlib.util
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from kdsr import writers


class Candidate(NamedTuple):
    """One way to do the work.

    run(n): does the work n times, waits for the end, returns the last loss. compiled: None, or a function that gives the
    temporary memory of the compiled program, MiB. growth(run): memory in MiB that one call needs beyond what it keeps. tolerance:
    relative difference of the losses that is allowed against the first candidate's.
    """

    name: str
    run: Callable[[int], float]
    compiled: Callable[[], float] | None = None
    growth: Callable | None = None
    tolerance: float = 1e-5


def start(pinned, torch):
    """Prepares the process for timings; call it before jax does anything.

    Args:
      pinned: whether to stay on one core.
      torch: whether to compare with PyTorch; None: where it is installed.

    Returns whether PyTorch takes part; ValueError where it is asked for and missing.
    """
    if pinned:
        pin()
    installed = importlib.util.find_spec('torch') is not None
    if torch and not installed:
        raise ValueError('--torch: PyTorch is not installed; pip install torch, or leave the flag out')
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # PyTorch needs memory of the same GPU
    jax.config.update('jax_enable_compilation_cache', False)  # compilation is to be timed
    return installed if torch is None else torch


def pin():
    """Restarts this very command on one core, unless it runs on one already; then jax and torch size their threads by it."""
    if not hasattr(os, 'sched_setaffinity'):
        raise ValueError('--pin needs Linux; run without it on an idle machine')
    if cores() > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        # libraries that are imported already have threads on the other cores, and a new program image has none
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def seconds(run):
    """Seconds of one call of `run(1)`; of the first one mostly compilation."""
    began = time.perf_counter()
    run(1)
    return time.perf_counter() - began


def agree(candidates, steps=3):
    """Runs `steps` steps of each and returns {name: seconds of the first}; ValueError where the losses differ."""
    first, losses = {}, {}
    for c in candidates:
        losses[c.name] = []
        first[c.name] = seconds(lambda n, c=c: losses[c.name].append(c.run(n)))
        losses[c.name] += [c.run(1) for _ in range(steps - 1)]
        writers.say(f'{c.name}: losses ' + ' '.join(f'{x:.7g}' for x in losses[c.name]))
    expected = losses[candidates[0].name]
    for c in candidates:
        for step, (a, b) in enumerate(zip(losses[c.name], expected, strict=True), 1):
            if not abs(a - b) <= c.tolerance * abs(b):  # so written, NaN fails
                raise ValueError(
                    f'loss {step} of {c.name} is {a:.8g}, that of {candidates[0].name} {b:.8g}: '
                    f'they differ by more than {c.tolerance:g} of it, so the two do not do the same work and are not timed'
                )
    return first


def compare(candidates, repeats, n=1, first=None, work=None):
    """Times the candidates in turn.

    Args:
      candidates: list; the first is what the ratios refer to.
      repeats: timings of each, after the calls that `agree` made and one that measures memory.
      n: steps per timing (more than 1 hides the cost of waiting for a device).
      first: what `agree` returned.
      work: floating-point operations of a step, for the rate.

    Returns rows for `table`.
    """
    growth = {c.name: (c.growth or resident_growth)(c.run) for c in candidates}
    wall, cpu = ({c.name: [] for c in candidates} for _ in range(2))
    gc.disable()
    for _ in range(repeats):
        for c in candidates:
            time.sleep(0.02)  # the threads of the one before stop spinning
            cpu_began, began = time.process_time(), time.perf_counter()
            c.run(n)
            wall[c.name].append((time.perf_counter() - began) / n)
            cpu[c.name].append((time.process_time() - cpu_began) / n)
    gc.enable()
    base = candidates[0].name
    rows = []
    for c in candidates:
        best = min(wall[c.name])
        row = {'what': c.name, 'median ms': 1e3 * statistics.median(wall[c.name]), 'min ms': 1e3 * best}
        row |= {'ratio': best / min(wall[base]), 'CPU ms': 1e3 * min(cpu[c.name]), 'CPU ratio': min(cpu[c.name]) / min(cpu[base])}
        row |= {'first s': first[c.name] - best if first else None, 'growth MiB': growth[c.name]}
        row |= {'temp MiB': c.compiled() if c.compiled else None, 'GFLOP/s': work / best / 1e9 if work else None}
        rows.append(row)
    return rows


def table(rows):
    """Markdown. ratio: of the minima. first s: what the first step costs beyond a later one, mostly compilation."""
    formats = {'what': '', 'median ms': '.1f', 'min ms': '.1f', 'ratio': '.3f', 'CPU ms': '.1f', 'CPU ratio': '.3f'}
    formats |= {'first s': '.1f', 'growth MiB': '.0f', 'temp MiB': '.0f', 'GFLOP/s': '.0f', 'of bf16 peak': '.1%'}
    return writers.table(rows, {k: f for k, f in formats.items() if any(r.get(k) is not None for r in rows)})


def resident_growth(run):
    """Growth of this process' resident memory during one call, at its peak, MiB; None where Linux's /proc is missing."""
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # else memory that an earlier candidate freed serves this one unseen
        pathlib.Path('/proc/self/clear_refs').write_text('5')  # starts the high-water mark anew
    except (OSError, AttributeError):
        return None
    before = _status('VmRSS')
    run(1)
    return (_status('VmHWM') - before) / 1024


def _status(field):
    text = pathlib.Path('/proc/self/status').read_text()
    return int(text.split(f'{field}:')[1].split()[0])
