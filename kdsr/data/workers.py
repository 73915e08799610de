"""Worker processes that make batches, where one process is too slow: its threads run Python one at a time.

They are programs of their own at the ends of pipes. Grain's (`mp_prefetch`) were tried at 0.2.18 and do not do here:

    they ask absl's flags, which nothing parses in a notebook or behind `kdsr.train(...)`: UnparsedFlagAccessError;
    they run the trainer's main module again, and the training with it where a script does not guard it;
    an exception that pickle cannot carry is lost, and the trainer waits for ever;
    they live on when their trainer is killed, and batches lie in /dev/shm, of which a container has 64 MB by default.

Here the end of the pipe tells a worker that its trainer is gone, however it went; the main module is not run again; and jax, which
making batches does not need, would find no device but the CPU.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback

PROGRAM = 'import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from kdsr.data import workers; workers.work()'


class Workers:
    """`count` processes that make batches: `workers(k)` is `make(k)`, computed by one that is free, for as many threads as call.

    Args:
      make: a function of a whole number that pickle can send. where: what it reads, for messages.

    A call raises what `make` raised (a RuntimeError of the same words where pickle cannot bring it), or ChildProcessError where the
    worker is gone. ValueError if `make` cannot be sent.
    """

    def __init__(self, make, count, where):
        try:
            job = pickle.dumps(make)
        except (pickle.PicklingError, TypeError, AttributeError) as e:
            raise ValueError(
                f'config.data.workers={count}: {where} cannot be sent to another process ({e}): let its `read` be an object of a '
                f'class, or set config.data.workers=0'
            ) from e
        program, env = [sys.executable, '-c', PROGRAM], {**os.environ, 'JAX_PLATFORMS': 'cpu'}
        start = lambda: subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.free, self.closed = queue.SimpleQueue(), False
        self.processes = [start() for _ in range(count)]
        for process in self.processes:
            send(process.stdin, sys.path)
            send(process.stdin, job)
            self.free.put(process)

    def __call__(self, k):
        process = self.free.get()
        try:
            if self.closed:
                raise EOFError
            send(process.stdin, k)
            made = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as e:
            raise ChildProcessError(
                f'a process of config.data.workers={len(self.processes)} is gone (exit status {process.wait()}; -9: killed, which '
                f'is what happens where memory runs out): take fewer of them; the same command goes on with the run'
            ) from e
        finally:
            self.free.put(process)
        if isinstance(made, Exception):
            raise made
        return made

    def close(self):
        """Ends the processes at once; they hold nothing that could be lost. A call under way raises."""
        self.closed = True
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def send(pipe, value):
    """Writes `value` to a binary pipe."""
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def work():
    """What a worker runs: answers numbers with batches until its trainer closes the pipe or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # which all processes of a job get; the trainer saves first, then ends this one
        signal.signal(number, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what a source of one's own prints must not come between the batches
    try:
        make = pickle.loads(pickle.load(requests))
    except Exception as e:  # told when the first batch is asked for
        failed = portable(e)
        make = lambda k: failed
    try:
        while True:
            k = pickle.load(requests)
            try:
                made = make(k)
            except Exception as e:
                made = portable(e)
            send(answers, made)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # without the farewell of `answers`, whose reader is gone


def portable(error):
    """`error` with its traceback as a note, or a RuntimeError of the same words where pickle cannot bring it."""
    error.add_note('In a worker process:\n' + ''.join(traceback.format_exception(error)))
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # of pickle, or of the exception's own way to be made
        pass
    return RuntimeError(f'{type(error).__name__}: {error}')
