"""What a step shows its networks: the batch's LR images, or its HR images, each reduced by a scale drawn for it and enlarged again.

The second is how networks of one size with a condition are trained (models.gcfsr): one network serves several scales.
"""

import jax
import jax.numpy as jnp
import numpy as np

from kdsr import fields
from kdsr.data import resize


def of(cfg, *nets):
    """(fn(ctx) -> (inputs, named), arrays): what the call of a network takes, and what belongs in `frozen` as 'sight', if anything.

    Without `config.method.scales` the inputs are the batch's LR images. With it, 'weight*scale+...' such as '4*64+2*32+8', they are
    `(images [b, H, W, C], condition [b], keys [b])` of a module's `refine`, which `named` says: HR reduced and enlarged by MATLAB's
    bicubic without rounding between, then clipped and rounded to 8 bits; the scale over the network's `full_scale`; and a key for
    each example's noise. All draws are by the example's own key, so that student and teacher see the same scales and noise.

    nets: the linen modules that are shown it. Raises ValueError where one of them takes no enlarged images, or a scale cannot be.
    """
    text, where = cfg.method.scales, 'config.method.scales'
    if not text:
        return (lambda ctx: ((ctx.batch.lr,), {})), {}
    for net in nets:
        if not hasattr(net, 'refine'):
            raise ValueError(f"{where}='{text}': {type(net).__name__} enlarges LR images of one scale; '' for it, or use gcfsr")
    if len(full := {net.full_scale for net in nets}) > 1:
        raise ValueError(f'{where}: full_scale of student and teacher differ ({", ".join(map(str, sorted(full)))})')
    weights, size = fields.weighted(where, text), cfg.patch * cfg.scale
    for name, weight in weights.items():
        if not (name.isdigit() and int(name) and size % int(name) == 0 and weight > 0):
            raise ValueError(f"{where}: '{name}' in '{text}' must divide the {size} pixels of HR patches, and weigh more than 0")
    scales, (full,) = np.array([int(name) for name in weights]), full
    chances = jnp.log(np.array(list(weights.values()), np.float32))

    def shown(ctx):
        keys = ctx.example_keys()
        draws, noise = (jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys) for i in (0, 1))
        which = jax.vmap(lambda key: jax.random.categorical(key, chances))(draws)
        along = jnp.asarray(ctx.frozen['sight'])[which]
        images = exact('bij,bjkc->bikc', along, exact('bkl,bjlc->bjkc', along, ctx.batch.hr))
        condition = jnp.asarray(scales, jnp.float32)[which] / full
        return (jnp.round(255 * jnp.clip(images, 0, 1)) / 255, condition, noise), {'method': 'refine'}

    return shown, np.stack([there_and_back(size, s) for s in scales])


def exact(text, *arrays):
    """Their product in full precision: TF32 would shift 8-bit pixels."""
    return jnp.einsum(text, *arrays, precision=jax.lax.Precision.HIGHEST)


def there_and_back(size, scale):
    """`[size, size]` float32, what multiplies rows (and columns) of an image to reduce and to enlarge them by `scale`."""
    small = size // scale
    reduced = resize.imresize(np.eye(size), None, size=(small, size))
    return np.float32(resize.imresize(np.eye(small), None, size=(size, small)) @ reduced)
