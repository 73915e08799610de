"""Optimisers: an optax chain and its learning-rate schedule from a config block."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from kdsr import fields

RATE = {'name': 'adam', 'learning_rate': 1e-4, 'b1': 0.9, 'b2': 0.999, 'eps': 1e-8}
SCHEDULE = {'schedule': 'constant', 'warmup': 0, 'final_rate': 0.0, 'decay': 0.5, 'milestones': (), 'clip': 0.0}
DEFAULTS = {**RATE, **SCHEDULE, 'accumulate': 1, 'weight_decay': 0.0, 'momentum': 0.0}
RANGES = {
    **dict.fromkeys(('learning_rate', 'eps', 'decay'), fields.ABOVE_0),
    **dict.fromkeys(('b1', 'b2', 'momentum'), (0, math.nextafter(1, 0))),
    **dict.fromkeys(('warmup', 'clip', 'weight_decay'), (0, math.inf)),
    **{'final_rate': (0, 1), 'accumulate': (1, math.inf)},
}
# what a kind of rule, or of schedule, reads besides the fields that all do
READ = {
    'name': {'adam': ('b1', 'b2', 'eps'), 'adamw': ('b1', 'b2', 'eps', 'weight_decay'), 'sgd': ('weight_decay', 'momentum')},
    'schedule': {'constant': (), 'cosine': ('final_rate',), 'step': ('decay', 'milestones')},
}


def check(cfg, where, steps):
    """Raises ValueError naming the first field of the block `cfg`, called `where`, that cannot be meant for `steps` batches."""
    whole = fields.filled(cfg, DEFAULTS, where, RANGES)
    for choice, known in READ.items():
        if whole[choice] not in known:
            hint = fields.meant(whole[choice], known)
            raise ValueError(f"{where}.{choice}='{whole[choice]}' is none of {', '.join(map(repr, known))}{hint}")
    times = whole['milestones']
    if not all(type(t) is int and t > 0 for t in times) or any(a >= b for a, b in itertools.pairwise(times)):
        raise ValueError(f'{where}.milestones={times!r} must be rising whole numbers of updates, e.g. (1000, 2000)')
    if whole['accumulate'] > steps:
        raise ValueError(f'{where}.accumulate={whole["accumulate"]} batches per update is more than the {steps} steps: no update')


def unread(cfg, where):
    """{field: why} of those that the block's rule and schedule do not read."""
    found = {}
    for choice, known in READ.items():
        value = cfg.get(choice, DEFAULTS[choice])
        others = {name for names in known.values() for name in names} - set(known.get(value, ()))
        found |= {f'{where}.{name}': f"{where}.{choice}='{value}' does not read it" for name in others}
    return found


class Rule(NamedTuple):
    """An optax transformation, by its `init` and `update`, that knows its learning rate.

    rate(state) -> float32 scalar: that of the update which `update(grads, state, params)` makes, or works on under accumulation.
    """

    init: Callable
    update: Callable
    rate: Callable


def schedule(cfg, steps):
    """Learning rate as a function of the update count.

    cfg.schedule: 'constant', 'cosine' (to `cfg.final_rate` x peak at the last update) or 'step' (x `cfg.decay` at each of
    `cfg.milestones`, a tuple of updates). cfg.warmup: updates of linear warm-up from 0. steps: updates in all.
    """
    peak, warmup = cfg.learning_rate, cfg.get('warmup', 0)
    name = cfg.get('schedule', 'constant')
    if name == 'constant':
        base = optax.constant_schedule(peak)
    elif name == 'cosine':
        base = optax.cosine_decay_schedule(peak, max(steps - warmup, 1), cfg.get('final_rate', 0.0))
    else:  # 'step'
        base = optax.piecewise_constant_schedule(peak, {m - warmup: cfg.get('decay', 0.5) for m in cfg.milestones})
    if not warmup:
        return base
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), base], [warmup])


def make(cfg, steps, where='config.optimizer'):
    """The Rule of a config block.

    Args:
      cfg: name ('adam', 'adamw', 'sgd'), learning_rate, and optionally b1, b2, eps, weight_decay, momentum, clip (global norm; 0 is
        off), accumulate (batches per update), schedule and its fields (see `schedule`).
      steps: batches in all; the schedule counts updates, `steps / accumulate`.
      where: what the block is called, for messages.

    Raises ValueError as `check`.
    """
    check(cfg, where, steps)
    accumulate = cfg.get('accumulate', 1)
    rate = schedule(cfg, steps // accumulate)
    b1, b2, eps = cfg.get('b1', 0.9), cfg.get('b2', 0.999), cfg.get('eps', 1e-8)
    if cfg.name == 'adam':
        rule = optax.adam(rate, b1, b2, eps)
    elif cfg.name == 'adamw':
        rule = optax.adamw(rate, b1, b2, eps, weight_decay=cfg.get('weight_decay', 0.0))
    else:  # 'sgd'
        rule = optax.sgd(rate, momentum=cfg.get('momentum', 0.0) or None)
        if cfg.get('weight_decay', 0.0):  # as in PyTorch: part of the gradient, after the clipping and before the momentum
            rule = optax.chain(optax.add_decayed_weights(cfg.weight_decay), rule)
    clip = cfg.get('clip', 0.0)
    if clip:
        rule = optax.chain(optax.clip_by_global_norm(clip), rule)
    # MultiSteps averages the gradients of `accumulate` batches; between updates it returns zeros.
    whole = optax.MultiSteps(rule, accumulate) if accumulate > 1 else rule
    return Rule(whole.init, whole.update, lambda state: jnp.float32(rate(_count(state))))


def is_schedule(node):
    """Whether a node of an optimiser's state is the schedule's, with its `count` of updates; moments have a count of their own."""
    return isinstance(node, optax.ScaleByScheduleState)


def _count(state):
    """How many updates the schedule in an optimiser's state has seen: fewer than steps under accumulation and after a restart."""
    return next(node for node in jax.tree.leaves(state, is_leaf=is_schedule) if is_schedule(node)).count
