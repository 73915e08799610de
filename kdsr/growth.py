"""Progressive distillation: a chain of blocks of which more and more act, in a state that never changes its shape."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Growth(NamedTuple):
    """When a student of `blocks` blocks (parameters 'block1', 'block2', ...) has how many of them.

    events: the student begins with the first and has blocks * k // events blocks after the k-th; 1: all from the start. every:
    steps from one to the next. new_block: 'random' (the paper's), or 'dirac', which passes on what it is given, so that growth
    changes nothing the student does. renew: at an event the optimiser starts anew, its schedule included, as in the released
    code; False: both go on. That code counted epochs, not events, which is the same for one event an epoch only.

    Reference: Zhang et al., Data-Free Knowledge Distillation For Image Super-Resolution, CVPR 2021, section 3.3.
    """

    events: int = 1
    every: int = 0
    new_block: str = 'random'
    renew: bool = True
    blocks: int = 18

    @property
    def grows(self):
        return self.events > 1

    def active(self, step):
        """How many blocks act in this step, an int32 scalar."""
        if not self.grows:
            return jnp.int32(self.blocks)
        return self.blocks * jnp.clip(step // self.every + 1, 1, self.events) // self.events

    def begun(self, variables):
        """Initial variables with the blocks that come later as `new_block` says.

        Raises ValueError for another word, more events than blocks, or no steps between them.
        """
        if self.new_block not in ('random', 'dirac'):
            raise ValueError(f"config.method.growth.new_block='{self.new_block}' is none of random, dirac")
        if not 1 <= self.events <= self.blocks or (self.grows and self.every < 1):
            raise ValueError(
                f'config.method.growth: {self.events} events, one in {self.every} steps, do not grow {self.blocks} blocks: '
                f'use 1 to {self.blocks} events and at least 1 step between them'
            )
        if self.new_block == 'random':
            return variables
        later = {f'block{i}' for i in range(self.blocks // self.events + 1, self.blocks + 1)}
        params = {k: jax.tree.map(_dirac, v) if k in later else v for k, v in variables['params'].items()}
        return {**variables, 'params': params}

    def renewed(self, net, step, optimiser):
        """`net` with a new optimiser state if this step is an event's first and `renew` holds."""
        if not (self.grows and self.renew):
            return net
        event = (step > 0) & (self.active(step) != self.active(step - 1))
        return net._replace(opt=jax.tree.map(lambda new, old: jnp.where(event, new, old), optimiser.init(net.params), net.opt))

    def kept(self, old, new, active):
        """The net `new` with the parameters of `old` in blocks that do not act yet: weight decay would shrink them."""
        if not self.grows:
            return new
        pick = lambda name: lambda b, a: jnp.where(_number(name) <= active, b, a)
        return new._replace(params={k: jax.tree.map(pick(k), v, old.params[k]) for k, v in new.params.items()})


def _number(name):
    """17 of 'block17', 0 of other names, whose layers act always."""
    found = re.fullmatch(r'block(\d+)', name)
    return int(found[1]) if found else 0


def _dirac(x):
    """A convolution's kernel `[k, k, C, C]` that copies its input; a bias of zeros."""
    if x.ndim != 4:
        return jnp.zeros_like(x)
    kernel = np.zeros(x.shape, np.float32)
    kernel[x.shape[0] // 2, x.shape[1] // 2] = np.eye(*x.shape[2:])
    return jnp.asarray(kernel, x.dtype)
