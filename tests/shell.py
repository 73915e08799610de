"""Commands run as processes of their own."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parents[1]


def command(*args, cwd=HERE, code=0):
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{HERE}:{HERE / "tests"}'}
    run = subprocess.run([sys.executable, '-m', *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=280)
    assert run.returncode == code, run.stderr[-3000:]
    return run


def only_line(run):
    """The one line of an error, without a traceback."""
    assert 'Traceback' not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, run.stderr
    return lines[0]
