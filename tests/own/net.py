"""A network of somebody's own for test_players: it takes LR images of one size and a condition."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, pixel_shuffle


def example(scale=2, size=16, **_):
    """One LR image of its size, and how strong its details are to be."""
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)


class Generator(nn.Module):
    """`(lr [B, size, size, 3], strength [B])` -> (sr `[B, s * size, s * size, 3]`, taps). `calls` counts its training calls."""

    scale: int = 2
    size: int = 16
    features: int = 6
    channels: int = 3

    @nn.compact
    def __call__(self, lr, strength=None, train=False):
        strength = jnp.ones(len(lr)) if strength is None else strength
        calls = self.variable('counters', 'calls', lambda: jnp.zeros(()))
        if train:
            calls.value += 1
        x = nn.relu(Conv(self.features, name='head')(lr)) * strength[:, None, None, None]
        place = self.param('place', nn.initializers.ones, (self.size, self.size, self.features))  # one weight for each pixel
        body = nn.relu(Conv(self.features, name='body')(x * place))
        return pixel_shuffle(Conv(3 * self.scale**2, name='tail')(body), self.scale), {'head': x, 'body': body}
