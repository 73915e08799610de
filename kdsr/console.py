"""What a person sees while work goes on: lines, and a progress bar with ETA."""

import contextlib
import contextvars
import sys
import time
from typing import NamedTuple

BAR, LINE = 0.1, 30.0  # seconds between two drawings of a bar, two lines of progress


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


def progress(label, brief=False):
    """`show(done, total)`: a progress bar with ETA on stderr, by a clock that starts now.

    A terminal sees it move, ten times a second at most; a log file, or whoever listens, gets a line every half minute and one at
    the end. brief: none at the end of what ends before the first line.
    """
    began = time.perf_counter()
    shown = None  # when, last

    def show(done, total):
        nonlocal shown
        now, moves = time.perf_counter(), sys.stderr.isatty() and _listener.get() is None
        due = shown is None or now - shown >= BAR if moves else now - (shown or began) >= LINE
        if not due and (done < total or brief and shown is None):
            return
        shown, left = now, duration((now - began) * (total - done) / max(done, 1))
        if moves:
            bar, end = '#' * (20 * done // total), '\n' if done == total else ''
            print(f'\r{label} [{bar:20}] {done}/{total} ETA {left:8}', end=end, file=sys.stderr, flush=True)
        else:
            say(f'{label} {done}/{total} ' + (f'ETA {left}' if done < total else f'in {duration(now - began)}'))

    return show
