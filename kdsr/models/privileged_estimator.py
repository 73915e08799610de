"""What PISR's student tells of its teacher's features, and how surely: two small networks on one tap."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv
from kdsr.models.privileged_encoder import Slope


def example(width, **_):
    """What it takes: one feature map."""
    return (jax.ShapeDtypeStruct((1, 16, 16, width), jnp.float32),)


class Network(nn.Module):
    """`[B, h, w, width]` -> ((mean, spread), {}), each `[B, h, w, width]`, float32: 1x1, PReLU, 1x1; spread through a softplus."""

    width: int

    @nn.compact
    def __call__(self, tap):
        conv = functools.partial(Conv, self.width, kernel_size=1)
        told = lambda name, x: conv(name=f'{name}2')(Slope(name=f'{name}_prelu')(conv(name=f'{name}1')(x)))
        return (told('mean', tap), jax.nn.softplus(told('spread', tap))), {}
