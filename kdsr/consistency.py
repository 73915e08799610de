"""Label consistency: images inverted, mirrored and transposed at random, and what a network makes of them turned back.

Zhang et al., Data Upcycling Knowledge Distillation for Image Super-Resolution, arXiv 2309.14162: a teacher's answer for a patch
teaches the student's answer for the changed patch, changed back.
"""

import jax
import jax.numpy as jnp

CHANGES = (
    lambda x: 1 - x,
    lambda x: x[:, ::-1],  # upside down; the released code calls it horizontal
    lambda x: x[:, :, ::-1],
    lambda x: x.swapaxes(1, 2),
)


def drawn(keys, probability):
    """Which of CHANGES each example gets, bool `[B, 4]`, each with `probability`. keys: one an example."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability, (len(CHANGES),)))(keys)


def changed(images, which):
    """Square images `[B, n, n, C]` in [0, 1] after the changes `which`, in the order of CHANGES."""
    return _applied(images, which, range(len(CHANGES)))


def restored(images, which, order='reversed'):
    """The inverse of `changed`. order: 'reversed'; or 'same', as DUKD's released code has it, which turns a transposed and once
    mirrored image by 180 degrees: 12.6 % of them at a probability of 0.3.
    """
    return _applied(images, which, ORDERS[order])


ORDERS = {'reversed': range(len(CHANGES))[::-1], 'same': range(len(CHANGES))}


def _applied(images, which, order):
    for i in order:
        images = jnp.where(which[:, i, None, None, None], CHANGES[i](images), images)
    return images


def cells(ctx, s, count, probability, shared=False):
    """(cells `[count * B, h, w, C]` of HR patches, of LR's size, clean; which changes each gets, `[count * B, 4]`).

    An HR patch has s x s of them; `count` different ones are drawn for each example by its own key, or once for all (`shared`).
    """
    b, h, w, channels = ctx.batch.lr.shape
    keys = ctx.example_keys()
    order = lambda key: jax.random.permutation(jax.random.fold_in(key, 0), s * s)[:count]
    chosen = jnp.tile(order(ctx.key), (b, 1)) if shared else jax.vmap(order)(keys)
    grid = ctx.batch.hr.reshape(b, s, h, s, w, channels).transpose(0, 1, 3, 2, 4, 5).reshape(b, s * s, h, w, channels)
    picked = jnp.take_along_axis(grid, chosen[:, :, None, None, None], 1)
    which = [drawn(jax.vmap(lambda key, i=i: jax.random.fold_in(key, i + 1))(keys), probability) for i in range(count)]
    return picked.swapaxes(0, 1).reshape(-1, h, w, channels), jnp.concatenate(which)
