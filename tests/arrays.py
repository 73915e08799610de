"""References in numpy, comparisons, and networks with weights drawn at random."""

import functools

import jax
import numpy as np
from jax import lax

from kdsr.models import layers


def plain(x, kernel, padding):
    """What the house convolution must equal: lax's own, differentiated by autodiff."""
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layers.NHWC)


relu = lambda x: np.maximum(x, 0)


def close(a, b):
    """Equal to 1e-5 of the largest value."""
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def np_conv(x, params):
    """SAME convolution of odd size in numpy, float64: a sum of shifted products."""
    x, kernel, y = np.float64(x), np.float64(params['kernel']), np.float64(params['bias'])
    k, h, w = len(kernel), *x.shape[1:3]
    p = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    return y + sum(p[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(k) for j in range(k))


# What runs once on small arrays: compiling is most of its time, and without optimisation it is 2 to 9 times shorter.
OPTIONS = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}


quick = functools.partial(jax.jit, compiler_options=OPTIONS)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def drawn(module, x):
    """Variables drawn at random, variances positive: ones and zeros would hide errors."""
    shapes, rng = jax.eval_shape(module.init, jax.random.key(0), x), np.random.default_rng(0)

    def draw(path, leaf):
        around = {'var': 1.0, 'gamma': 1.0}.get(path[-1].key, 0.0)
        return np.float32(around + rng.uniform(-0.5, 0.5, leaf.shape) / max(1, np.prod(leaf.shape[:-1]) / 4) ** 0.5)

    return jax.tree_util.tree_map_with_path(draw, shapes)


LR = np.random.default_rng(5).uniform(size=(2, 5, 6, 3)).astype(np.float32)


leaky = lambda x: np.where(x > 0, x, 0.2 * x)


def np_transposed(x, params, s):
    """Keras' Conv2DTranspose with SAME: every pixel adds its multiple of the kernel to a canvas; the overhang is cut off."""
    b, h, w, _ = x.shape
    canvas = np.zeros((b, s * h + 3, s * w + 3, params['bias'].size))
    for y, z in np.ndindex(h, w):
        canvas[:, s * y : s * y + 3, s * z : s * z + 3] += np.einsum('bc,ijcd->bijd', x[:, y, z], params['kernel'])
    return canvas[:, : s * h, : s * w] + params['bias']
