"""The depthwise 3x3 convolution: one kernel per channel, fast on CPU in both directions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models import layers

# A tenth of He's normal law in Keras' form, which takes a depthwise kernel [3, 3, C, 1] to have 9 C inputs: std 0.1 sqrt(2/9C).
TENTH_HE = nn.initializers.variance_scaling(0.02, 'fan_in', 'truncated_normal')
# `Depthwise(**TENTH_HE_BOTH)` draws biases by it as well, std 0.1 sqrt(2/C), as the compressed ESRGAN does.
TENTH_HE_BOTH = {'kernel_init': TENTH_HE, 'bias_init': lambda key, shape, dtype: TENTH_HE(key, (*shape, 1), dtype)[:, 0]}


def depthwise(x, kernel):
    """Each channel convolved with its own 3x3 kernel, zero padding (SAME), stride 1.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C]`, of the dtype of `x`.

    Returns:
      `[B, H, W, C]`. On CPU reverse mode only (no `jax.jvp`).
    """
    if layers.on_cpu():
        return _shifted(x, kernel)
    grouped = {'dimension_numbers': layers.NHWC, 'feature_group_count': x.shape[-1]}
    return lax.conv_general_dilated(x, kernel[:, :, None], (1, 1), 'SAME', **grouped)


@jax.custom_vjp
def _shifted(x, kernel):
    """A sum of nine shifted products: XLA:CPU's grouped convolution is 50 times slower, its gradient 20 times."""
    padded, (height, width) = _padded(x), x.shape[1:3]
    return sum(padded[:, i : i + height, j : j + width] * kernel[i, j] for i in range(3) for j in range(3))


def _shifted_bwd(saved, g):
    x, kernel = saved
    padded = _padded(x)
    dkernel = [[_sum_of_products(padded[:, i:, j:], g) for j in range(3)] for i in range(3)]
    return _shifted(g, kernel[::-1, ::-1]), jnp.array(dkernel).astype(kernel.dtype)


_shifted.defvjp(lambda x, kernel: (_shifted(x, kernel), (x, kernel)), _shifted_bwd)


def _padded(x):
    return lax.optimization_barrier(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


def _sum_of_products(a, b, parts=12):
    """Sum of a * b over all but the last axis, `[C]`; `a` may have more rows and columns than `b`.

    A reduction is what XLA:CPU does slowest, so the image is cut into stripes whose products are added first: 7 times faster.
    """
    height, width = b.shape[1:3]
    rows = max(1, height // parts)
    product = lambda top, rows: layers.at_least_float32(a[:, top : top + rows, :width]) * b[:, top : top + rows]
    whole = height - height % rows
    stripes = sum(product(top, rows) for top in range(0, whole, rows))
    if whole < height:
        stripes += jnp.pad(product(whole, height - whole), ((0, 0), (0, rows - height + whole), (0, 0), (0, 0)))
    return layers.plane_sum(stripes).sum(0)


class Depthwise(nn.Module):
    """`[B, H, W, C]` -> the same, a 3x3 convolution of each channel and a bias, stride 1, zero padding (SAME).

    Parameters `kernel` (`[3, 3, C, 1]`, Keras' form) and `bias` (`[C]`) are float32, drawn by Keras' default law unless
    `kernel_init` or `bias_init` say otherwise; `dtype` is what the work is done in.
    """

    dtype: str = 'float32'
    kernel_init: Callable = layers.GLOROT['kernel_init']
    bias_init: Callable = layers.GLOROT['bias_init']

    @nn.compact
    def __call__(self, x):
        kernel = self.param('kernel', self.kernel_init, (3, 3, x.shape[-1], 1), jnp.float32)
        bias = self.param('bias', self.bias_init, (x.shape[-1],), jnp.float32)
        y = depthwise(x.astype(self.dtype), kernel[..., 0].astype(self.dtype))
        return layers.add_bias(y, bias.astype(self.dtype))
