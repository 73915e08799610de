"""What every command shares: one-line errors, a progress bar with ETA, the compilation cache."""

import functools
import os
import re
import sys
import time

import jax
from absl import app, flags, logging

from kdsr import writers
from kdsr.paths import expanded

# What bad input raises; anything else is a defect of ours and keeps its traceback.
EXPECTED = (ValueError, OSError, ModuleNotFoundError, FloatingPointError)

_began = {}


def run(main):
    """Runs a command: flags, then `main`, with expected errors on one line."""
    app.run(guarded(main), flags_parser=parse)


def parse(argv):
    """`flags.FLAGS(argv)`; a misspelt flag or config field, or a value of the wrong type, is one line and status 1."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as e:
        text = str(e)
        if near := re.search(r'Did you mean "(.+?)" instead of "(.+?)"', text):
            text = f"config field '{near[2]}' is unknown, did you mean '{near[1]}'?"
        elif inner := re.findall(r'^\s*\w*(?:Error|Exception): (.+)$', text, re.M):  # a config file raised: its own last line
            text = inner[-1]
        writers.say('error: ' + one_line(text))
        sys.exit(1)


def one_line(text):
    """`text` without line breaks."""
    return ' '.join(text.split())


def guarded(main):
    """`main` whose expected errors print as one line and exit with status 1 (the traceback with --verbosity=1)."""

    @functools.wraps(main)
    def wrapped(argv):
        if not flags.FLAGS['verbosity'].present:
            logging.set_verbosity(logging.WARNING)  # Orbax and jax tell a lot; --verbosity=0 lets them
        try:
            cache()
            return main(argv)
        except EXPECTED as e:
            if logging.get_verbosity() >= logging.DEBUG:
                raise
            reason = str(e) or type(e).__name__
            if isinstance(e, OSError) and e.errno == 28:
                reason = f'the disk is full while writing {e.filename or "a file"}: free some space and run the same command again'
            writers.say(f'error: {one_line(reason)}  (--verbosity=1 shows the traceback)')
            sys.exit(1)

    return wrapped


def cache():
    """Turns on the persistent compilation cache ($KDSR_CACHE/xla or ~/.cache/kdsr/xla)."""
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
        folder = expanded(os.environ.get('KDSR_CACHE') or '~/.cache/kdsr') / 'xla'
        jax.config.update('jax_compilation_cache_dir', str(folder))
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def progress(label, done, total):
    """Progress bar with ETA on stderr; a terminal sees it move, a log file gets one line at the end."""
    began = _began.setdefault(label, time.perf_counter())
    left = (time.perf_counter() - began) * (total - done) / max(done, 1)
    bar = '#' * (20 * done // total)
    if sys.stderr.isatty():
        end = '\n' if done == total else ''
        print(f'\r{label} [{bar:20}] {done}/{total} ETA {writers.duration(left)} ', end=end, file=sys.stderr, flush=True)
    elif done == total:
        writers.say(f'{label} {done}/{total} in {writers.duration(time.perf_counter() - began)}')
    if done == total:
        del _began[label]
