"""A critic of somebody's own, two convolutions: what compiles in a second."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv


def example(size=32, **_):
    """One image of its size."""
    return (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),)


class Discriminator(nn.Module):
    """`image [B, H, W, 3]` in [0, 1] -> (logits `[B, H, W, 1]`, taps)."""

    size: int = 32
    features: int = 4

    @nn.compact
    def __call__(self, image):
        x = jax.nn.softplus(Conv(self.features, name='conv1')(image))
        return Conv(1, name='conv2')(x), {'conv1': x}
