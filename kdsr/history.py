"""A slow copy of the student, whose images are what it shall leave behind (Zhou et al., DCKD, AAAI 2025)."""

import math

import jax
import jax.numpy as jnp
import optax

DEFAULTS = {'every': 1000, 'share': 0.9}
RANGES = {'history.every': (1, math.inf), 'history.share': (0, 1)}
AGE = 100_000  # steps after which the copy is renewed half, a third, ... as often
NOISE = (1 / 255, 30 / 255)  # deviations that noise is drawn with


def remembering(method, block):
    """`method`, whose losses read the copy's parameters as `ctx.frozen['history']`.

    It begins as the student; after each `every`-th step (2 x `every` after 100,000 steps, and so on) `share` of it becomes the
    student's average, or its weights where `config.ema_decay` is 0. It is part of the state, in `ema`.
    """

    def init(key):
        state = method.init(key)
        copy = jax.tree.map(jnp.copy, state.nets['student'].params)
        return state._replace(ema={**state.ema, 'history': copy})

    def step(state, frozen, batch, axis=None):
        old = state.ema['history']
        inner = state._replace(ema={k: v for k, v in state.ema.items() if k != 'history'})
        after, metrics = method.step(inner, {**frozen, 'history': old}, batch, axis)
        due = after.step % (block.every * (1 + state.step // AGE)) == 0
        new = optax.incremental_update(after.ema.get('student', after.nets['student'].params), old, block.share)
        kept = jax.tree.map(lambda a, b: jnp.where(due, a, b), new, old)
        return after._replace(ema={**after.ema, 'history': kept}), metrics

    return method._replace(init=init, step=step, losses=None)


def noisy(ctx, count):
    """`count` copies of the LR images with Gaussian noise, its deviation drawn for each, grey for half of them, clipped."""

    def one(key, image):
        keys = jax.random.split(key, 3)
        sigma = jax.random.uniform(keys[0], (), minval=NOISE[0], maxval=NOISE[1])
        noise = jax.random.normal(keys[1], image.shape)
        noise = jnp.where(jax.random.bernoulli(keys[2]), noise[..., :1], noise)
        return jnp.clip(image + sigma * noise, 0, 1)

    return [
        jax.vmap(lambda key, image, i=i: one(jax.random.fold_in(key, 100 + i), image))(ctx.example_keys(), ctx.batch.lr)
        for i in range(count)
    ]
