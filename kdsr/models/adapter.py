"""1x1 convolutions that bring a student's taps to the teacher's widths (the regressors of FitNets, ICLR 2015)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv


def example(inputs, **_):
    """What it takes: a list of one feature map for each tap."""
    return ([jax.ShapeDtypeStruct((1, 16, 16, width), jnp.float32) for width in inputs],)


class Network(nn.Module):
    """`[[B, h, w, inputs[0]], ...]` -> `([[B, h, w, widths[0]], ...], {})`, one convolution per tap, float32."""

    inputs: tuple[int, ...]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, taps):
        convolve = lambda i, width, tap: Conv(width, kernel_size=1, name=f'tap{i}')(tap)
        return [convolve(i, *pair) for i, pair in enumerate(zip(self.widths, taps, strict=True), 1)], {}
