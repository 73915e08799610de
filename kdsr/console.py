"""What a person sees while work goes on: lines, and a progress bar with ETA."""

import contextlib
import contextvars
import sys
import time
from typing import NamedTuple


class Listener(NamedTuple):
    """Who is told what goes on. say(text): a line. step(step, steps, metrics): a training step that is done; None: nobody."""

    say: object = None
    step: object = None


_command = contextvars.ContextVar('command', default='')
_listener = contextvars.ContextVar('listener', default=None)  # None: the console


@contextlib.contextmanager
def told(say=None, step=None):
    """While it lasts, lines go to `say(text)` and training steps to `step(step, steps, metrics)`; None: they go nowhere."""
    before = _listener.set(Listener(say, step))
    try:
        yield
    finally:
        _listener.reset(before)


@contextlib.contextmanager
def called(text):
    """While it lasts, `text` is what a card says it was made by: a call from Python has no command line of its own."""
    before = _command.set(text)
    try:
        yield
    finally:
        _command.reset(before)


def command():
    """The command line, or the call, that runs."""
    return _command.get() or ' '.join(['python -m kdsr.main', *sys.argv[1:]])


def duration(seconds):
    """Seconds as '0:42', '12:05' or '3:20:07'."""
    minutes, s = divmod(int(seconds + 0.5), 60)
    hours, m = divmod(minutes, 60)
    return f'{hours}:{m:02}:{s:02}' if hours else f'{m}:{s:02}'


def say(text):
    """One line for the console, at once, or for whoever listens."""
    if (listener := _listener.get()) is None:
        print(text, file=sys.stderr, flush=True)
    elif listener.say:
        listener.say(text)


def show(text):
    """What a command is run for, a table say: on the standard output, or for whoever listens."""
    if (listener := _listener.get()) is None:
        print(text)
    elif listener.say:
        listener.say(text)


def step(done, total, metrics):
    """Tells whoever listens that a training step is done; metrics: its numbers, on the host."""
    if (listener := _listener.get()) and listener.step:
        listener.step(done, total, metrics)


def progress(label):
    """`show(done, total)`: a progress bar with ETA on stderr, by a clock that starts now.

    A terminal sees it move, a log file gets one line at the end.
    """
    began = time.perf_counter()

    def show(done, total):
        passed = time.perf_counter() - began
        left = duration(passed * (total - done) / max(done, 1))
        if sys.stderr.isatty() and _listener.get() is None:
            bar, end = '#' * (20 * done // total), '\n' if done == total else ''
            print(f'\r{label} [{bar:20}] {done}/{total} ETA {left} ', end=end, file=sys.stderr, flush=True)
        elif done == total:
            say(f'{label} {done}/{total} in {duration(passed)}')

    return show
