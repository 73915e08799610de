"""The encoder of PISR's teacher: it reads the HR image and makes an LR one of it, in which it hides what the decoder needs."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, at_least_float32, pixel_unshuffle, uniform
from kdsr.models.layers import conv as convolution

SLOPE = 0.25


def example(scale=4, channels=3, **_):
    """What it takes: HR images."""
    return (jax.ShapeDtypeStruct((1, 8 * scale, 8 * scale, channels), jnp.float32),)


class Slope(nn.Module):
    """PReLU with one slope for all channels, PyTorch's default."""

    @nn.compact
    def __call__(self, x):
        alpha = self.param('alpha', nn.initializers.constant(SLOPE), (), jnp.float32).astype(x.dtype)
        return nn.relu(x) - alpha * nn.relu(-x)


class Network(nn.Module):
    """`[B, s*h, s*w, channels]` -> (`[B, h, w, channels]`, {}), float32: 5x5, 5x5 of stride s, 3x3, 3x3, PReLUs between.

    Reference: Lee et al., Learning with Privileged Information for Efficient Image Super-Resolution, ECCV 2020; `features` and
    `narrow` as for FSRCNN (86,084 parameters at scale 2, one channel).
    """

    scale: int = 4
    channels: int = 3
    features: int = 56
    narrow: int = 12
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, hr):
        conv = functools.partial(Conv, dtype=self.dtype)
        x = Slope(name='prelu1')(conv(self.features, kernel_size=5, name='conv1')(hr))
        x = Slope(name='prelu2')(Strided(self.features, self.scale, self.dtype, name='conv2')(x))
        x = Slope(name='prelu3')(conv(self.narrow, name='conv3')(x))
        return at_least_float32(conv(self.channels, name='conv4')(x)), {}


class Strided(nn.Module):
    """5x5 convolution of stride s and zero padding 2, as one of stride 1 over s x s pixels at once: the form that CPUs run fast."""

    features: int
    stride: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        law = uniform(25 * x.shape[-1])
        kernel, bias = self.param('kernel', law, (5, 5, x.shape[-1], self.features)), self.param('bias', law, (self.features,))
        return strided(x.astype(self.dtype), kernel.astype(self.dtype), self.stride) + bias.astype(self.dtype)


def strided(x, kernel, s):
    """`[B, s*h, s*w, I]` by a kernel `[5, 5, I, O]` -> `[B, h, w, O]`: stride s, two zeros around."""
    taps = -(-5 // s)
    wide = jnp.pad(kernel, ((0, taps * s - 5), (0, taps * s - 5), (0, 0), (0, 0)))
    inputs, outputs = kernel.shape[2:]
    wide = wide.reshape(taps, s, taps, s, inputs, outputs).transpose(0, 2, 1, 3, 4, 5).reshape(taps, taps, s * s * inputs, outputs)
    more = s * (taps - 1) - 2
    x = jnp.pad(x, ((0, 0), (2, max(more, 0)), (2, max(more, 0)), (0, 0)))
    x = x[:, : x.shape[1] + min(more, 0), : x.shape[2] + min(more, 0)]
    return convolution(pixel_unshuffle(x, s), wide, ((0, 0), (0, 0)))
