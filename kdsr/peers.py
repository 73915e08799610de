"""Several processes: how they find each other, and how one ends when another is lost."""

import atexit
import contextlib
import os
import re
import subprocess
import sys

import jax

from kdsr import compiled, quiet, writers

# Words in the errors that the runtime raises, rather than aborts with, where another process is gone.
CAUSES = ('Gloo', 'NCCL', 'oordination', 'heartbeat', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'Connection', 'Socket closed')


def check(coordinator, processes, process):
    """ValueError naming the flag that is missing or out of range."""
    if processes < 0:
        raise ValueError(f'--processes={processes} must be at least 1, or 0: found out by itself')
    if processes == 0 and coordinator:
        raise ValueError('--processes=0 finds the coordinator by itself: leave --coordinator out, or say how many there are')
    if processes == 1 and (coordinator or process):
        flag = f'--coordinator={coordinator}' if coordinator else f'--process={process}'
        raise ValueError(f'{flag} is for several processes: --processes is missing')
    if processes > 1 and not coordinator:
        raise ValueError(f'--processes={processes} needs --coordinator=HOST:PORT, the address of process 0')
    if processes > 1 and not re.fullmatch(r'.+:\d+', coordinator):
        raise ValueError(f'--coordinator={coordinator} must be HOST:PORT, the address of process 0')
    if processes > 1 and not 0 <= process < processes:
        raise ValueError(f'--process={process} must be in 0..{processes - 1} with --processes={processes}')


def join(coordinator, processes, process, timeout=100):
    """Joins the other processes, before jax starts. `processes` 0: jax finds all three itself (TPU pods, SLURM).

    A process that does not answer for `timeout` seconds counts as lost.
    """
    filter_stderr()
    # jit(pmap) cannot be used with many processes, so the CPU option can only travel in XLA_FLAGS.
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {compiled.CPU_FLAG}'.strip()
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    limits = {'heartbeat_timeout_seconds': timeout, 'shutdown_timeout_seconds': timeout}
    if processes:
        jax.distributed.initialize(coordinator, processes, process, **limits)
    else:
        jax.distributed.initialize(**limits)


# -P: kdsr's folder on the path would put its types.py before the standard library's
READER = (sys.executable, '-P', quiet.__file__)


def filter_stderr():
    """Has a small process (kdsr.quiet) pass this one's stderr on; it ends with this one."""
    sys.stderr.flush()
    reader = subprocess.Popen(
        READER,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()


@contextlib.contextmanager
def together():
    """A process that ends in here by an error leaves at once: jax's farewell waits for the others, and they wait for this one."""
    done = []
    atexit.register(lambda: done or leave())
    try:
        yield
    except SystemExit:  # a stop that all have agreed on
        done.append(True)
        raise
    done.append(True)


def leave():
    """Ends this process with status 1 and without any more waiting."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def leave_if_lost(_, error, __):
    """For `ExitStack.push`: ends the process in one line where `error` came of a lost peer, before anything waits for that."""
    # what fetches an array raises the same words as a ValueError where the peer is lost in between
    kinds = (jax.errors.JaxRuntimeError, RuntimeError, ValueError)
    if isinstance(error, kinds) and jax.process_count() > 1 and any(c in str(error) for c in CAUSES):
        writers.say(quiet.LOST)
        leave()
