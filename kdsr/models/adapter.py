"""1x1 convolutions that bring a student's taps to the teacher's widths (FitNets' regressors, ICLR 2015), or MLPs of them."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv
from kdsr.models.norms import BatchNorm

HE = {'kernel_init': nn.initializers.he_normal(), 'bias_init': nn.initializers.zeros}
ZEROS = {'kernel_init': nn.initializers.zeros, 'bias_init': nn.initializers.zeros}


def example(inputs, **_):
    """What it takes: a list of one feature map for each tap."""
    return ([jax.ShapeDtypeStruct((1, 16, 16, width), jnp.float32) for width in inputs],)


class Network(nn.Module):
    """`[[B, h, w, inputs[0]], ...]` -> `([[B, h, w, widths[0]], ...], {})`, float32: one stack of 1x1 convolutions per tap.

    layers: how many, with a ReLU between, the first of them to the width already; from 2 on they are drawn by He's law, without
    biases at first (the MLP of Liu et al., arXiv 2303.13212), but for the last, which begins at 0: what it makes of features much
    larger than the teacher's (RRDBNet: 13 deviations) would outweigh all other terms. norm: batch norm and ReLU behind the last,
    which then has no bias (OMGD); `train` and `axis` are those of `BatchNorm`.
    """

    inputs: tuple[int, ...]
    widths: tuple[int, ...]
    layers: int = 1
    norm: bool = False

    @nn.compact
    def __call__(self, taps, train=False, axis=None):
        law = ZEROS if self.layers > 1 else {}

        def brought(i, width, x):
            convolution = functools.partial(Conv, width, kernel_size=1)
            for k in range(1, self.layers):
                x = nn.relu(convolution(name=f'tap{i}_{k}', **HE)(x))
            x = convolution(name=f'tap{i}', use_bias=not self.norm, **law)(x)
            return nn.relu(BatchNorm(name=f'bn{i}')(x, train, axis)) if self.norm else x

        return [brought(i, *pair) for i, pair in enumerate(zip(self.widths, taps, strict=True), 1)], {}
