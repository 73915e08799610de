"""SRGAN's discriminator: a network that tells real images from generated ones."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import GLOROT, Conv, StridedConv, at_least_float32
from kdsr.models.norms import BatchNorm

WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)  # of the eight convolutions, in `features`; every second one has stride 2


def example(size=96, **_):
    """What it takes: one image of its own size."""
    return (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),)


class Discriminator(nn.Module):
    """`image [B, size, size, 3]` in [0, 1] -> (logits `[B]`, taps), float32; positive means real, the losses take the sigmoid.

    Eight convolutions of `features` to 8 * `features` channels with LeakyReLU(0.2) and, but for the first, batch norm; then
    dense layers of `hidden` and 1. The first dense layer fixes the image's size: ValueError for another. `train` and `axis`
    are those of `BatchNorm`; real and generated images belong in two calls, since a joint one would mix their statistics.
    `use_bias` and `momentum` are those of the convolutions and of the batch norm. taps: 'conv1' ... 'conv8', each after its
    activation.

    Reference: Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017,
    section 2.1.1, with the constants of github.com/krasserm/super-resolution (momentum 0.8, eps 1e-3).
    """

    size: int = 96
    features: int = 64
    hidden: int = 1024
    dtype: str = 'float32'
    use_bias: bool = True
    momentum: float = 0.8

    @nn.compact
    def __call__(self, image, train=False, axis=None):
        if image.shape[1:3] != (self.size, self.size):
            height, width = image.shape[1:3]
            raise ValueError(f'this discriminator takes images of {self.size}x{self.size}, got {height}x{width}: set size')
        act = functools.partial(nn.leaky_relu, negative_slope=0.2)
        dense = functools.partial(nn.Dense, dtype=self.dtype, **GLOROT)
        x, taps = image * 2 - 1, {}
        for i, width in enumerate(WIDTHS, 1):
            conv = functools.partial(Conv if i % 2 else StridedConv, use_bias=self.use_bias, dtype=self.dtype, **GLOROT)
            x = conv(self.features * width, name=f'conv{i}')(x)
            if i > 1:
                x = BatchNorm(self.momentum, dtype=self.dtype, name=f'bn{i}')(x, train, axis)
            x = taps[f'conv{i}'] = act(x)
        x = act(dense(self.hidden, name='dense1')(x.reshape(len(x), -1)))
        return at_least_float32(dense(1, name='dense2')(x))[:, 0], taps
