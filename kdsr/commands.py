"""What every command shares: one-line errors, a progress bar with ETA, the compilation cache."""

import functools
import os
import re
import sys

import jax
from absl import app, flags, logging

from kdsr import allocator, writers
from kdsr.paths import expanded

# What bad input raises; anything else is a defect of ours and keeps its traceback.
EXPECTED = (ValueError, OSError, ModuleNotFoundError, FloatingPointError)

HELP = ('help', 'helpfull', 'helpshort', 'helpxml', '?', 'h')


def run(main, arguments=False, helped=None):
    """Runs a command: flags, then `main`, with expected errors on one line.

    arguments: whether the command takes any besides its flags. helped: what `--help` beside `--config=SPEC` prints, of SPEC.
    """
    app.run(guarded(main), flags_parser=functools.partial(parse, arguments=arguments, helped=helped))


def parse(argv, arguments=False, helped=None):
    """`flags.FLAGS(argv)`; a misspelt flag, one of the wrong type, or an argument where there is none to be, is one line, status 1.

    `--config.steps=10` is taken as `--set=steps=10`. Where help is asked for, it is printed and the status is 0.
    """
    wanted = [a for a in argv[1:] if a.partition('=')[0].lstrip('-') in HELP and a.startswith('-')]
    specs = [a.partition('=')[2] for a in argv[1:] if re.match(r'--?config=', a)]
    try:
        if wanted and specs and helped:
            print(helped(specs[-1]))
            sys.exit(0)
        rest = flags.FLAGS(as_set(['--help' if a == '-h' else a for a in flags.FLAGS.read_flags_from_files(argv, force_gnu=False)]))
        if len(rest) > 1 and not arguments:
            near = f': did you mean --{rest[1]}?' if '=' in rest[1] else ''
            raise flags.Error(f"unexpected argument '{rest[1]}'{near} (--help shows what there is)")
        return rest
    except SystemExit:
        sys.exit(0 if wanted else 1)
    except (flags.Error, OSError, ValueError) as e:
        writers.say('error: ' + one_line(str(e)))
        sys.exit(1)


def as_set(argv):
    """`argv` with `--config.a.b=1`, `--config.a.b 1`, `--config.a` and `--noconfig.a` as `--set=a.b=1`, `--set=a=true` or false."""
    found, rest = [], iter(enumerate(argv))
    for i, arg in rest:
        match = re.fullmatch(r'--?(no)?config\.([^=]+)(=.*)?', arg, re.S)
        follows = argv[i + 1] if i + 1 < len(argv) else '-'
        if not match:
            found.append(arg)
        elif match[3] or match[1]:
            found.append(f'--set={match[2]}{match[3] or "=false"}')
        elif re.match(r'-(?![\d.])', follows):  # a flag; -0.5 is a value
            found.append(f'--set={match[2]}=true')
        else:
            found.append(f'--set={match[2]}={follows}')
            next(rest)
    return found


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
            begin()
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


def begin():
    """What every command and every call of the API begins with: freed memory is kept, compiled programs too."""
    allocator.keep_memory()
    cache()


def cache():
    """Turns on the persistent compilation cache ($KDSR_CACHE/xla or ~/.cache/kdsr/xla)."""
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
        folder = expanded(os.environ.get('KDSR_CACHE') or '~/.cache/kdsr') / 'xla'
        jax.config.update('jax_compilation_cache_dir', str(folder))
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
