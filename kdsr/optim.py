"""Optimisers: an optax chain and its learning-rate schedule from a config block."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


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
    elif name == 'step':
        base = optax.piecewise_constant_schedule(peak, {m - warmup: cfg.get('decay', 0.5) for m in cfg.milestones})
    else:
        raise ValueError(f"config.optimizer.schedule='{name}' is none of 'constant', 'cosine', 'step'")
    if not warmup:
        return base
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), base], [warmup])


def make(cfg, steps):
    """The Rule of a config block.

    Args:
      cfg: name ('adam', 'adamw', 'sgd'), learning_rate, and optionally b1, b2, eps, weight_decay, momentum, clip (global norm; 0 is
        off), accumulate (batches per update), schedule and its fields (see `schedule`).
      steps: batches in all; the schedule counts updates, `steps / accumulate`.
    """
    accumulate = cfg.get('accumulate', 1)
    rate = schedule(cfg, steps // accumulate)
    b1, b2, eps = cfg.get('b1', 0.9), cfg.get('b2', 0.999), cfg.get('eps', 1e-8)
    if cfg.name == 'adam':
        rule = optax.adam(rate, b1, b2, eps)
    elif cfg.name == 'adamw':
        rule = optax.adamw(rate, b1, b2, eps, weight_decay=cfg.get('weight_decay', 0.0))
    elif cfg.name == 'sgd':
        rule = optax.sgd(rate, momentum=cfg.get('momentum', 0.0) or None)
        if cfg.get('weight_decay', 0.0):  # as in PyTorch: part of the gradient, after the clipping and before the momentum
            rule = optax.chain(optax.add_decayed_weights(cfg.weight_decay), rule)
    else:
        raise ValueError(f"config.optimizer.name='{cfg.name}' is none of 'adam', 'adamw', 'sgd'")
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
