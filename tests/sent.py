"""What tests send to worker processes: functions of a batch's number."""

import os
import sys


class Shy(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, who, why):
        super().__init__(f'{who}: {why}')


def about(k):
    """Of the process that is asked: its id, whether it has jax, and what jax would look for."""
    print('a source of one prints this')
    return os.getpid(), 'jax' in sys.modules, os.environ['JAX_PLATFORMS']


def failing(k):
    """Ways to fail, by number."""
    if k == 1:
        raise OSError(5, 'Input/output error', 'photo.png')
    if k == 2:
        raise Shy('photo.png', 'is torn')
    if k == 3:
        os._exit(3)
    return k
