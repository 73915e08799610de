"""What a person sees while work goes on: lines, and a progress bar with ETA."""

import sys
import time


def duration(seconds):
    """Seconds as '0:42', '12:05' or '3:20:07'."""
    minutes, s = divmod(int(seconds + 0.5), 60)
    hours, m = divmod(minutes, 60)
    return f'{hours}:{m:02}:{s:02}' if hours else f'{m}:{s:02}'


def say(text):
    """One line for the console, at once."""
    print(text, file=sys.stderr, flush=True)


def progress(label):
    """`show(done, total)`: a progress bar with ETA on stderr, by a clock that starts now.

    A terminal sees it move, a log file gets one line at the end.
    """
    began = time.perf_counter()

    def show(done, total):
        passed = time.perf_counter() - began
        left = duration(passed * (total - done) / max(done, 1))
        if sys.stderr.isatty():
            bar, end = '#' * (20 * done // total), '\n' if done == total else ''
            print(f'\r{label} [{bar:20}] {done}/{total} ETA {left} ', end=end, file=sys.stderr, flush=True)
        elif done == total:
            say(f'{label} {done}/{total} in {duration(passed)}')

    return show
