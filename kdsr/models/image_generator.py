"""The generator of data-free distillation: noise to the LR images that a student is taught with."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, at_least_float32, nearest, uniform
from kdsr.models.norms import InstanceNorm


def example(latent=256, **_):
    """What it takes: one vector of noise."""
    return (jax.ShapeDtypeStruct((1, latent), jnp.float32),)


def pictures(net, variables, count=8):
    """Images that a run shows of what it has learnt, `[count, h, w, C]`, always of the same z."""
    return net.apply(variables, jax.random.normal(jax.random.key(0), (count, net.latent)))[0]


class Network(nn.Module):
    """`z [B, latent]` ~ N(0, 1) -> (image `[B, 4*s, 4*s, channels]` in [0, 1], {}), float32, with s = size // 4.

    Parameters at 24, 16 and 12 px: 1,406,849, 748,929 and 518,657. `eps` of the later two norms is 0.8, as in the original
    code: a strong damping, which DAFL's generator has from an argument at the wrong place.

    References: Zhang et al., Data-Free Knowledge Distillation For Image Super-Resolution, CVPR 2021, and
    github.com/huawei-noah/Efficient-Computing, DFSR, `GeneratorINE1`; Chen et al., Data-Free Learning of Student Networks,
    ICCV 2019.
    """

    size: int
    latent: int = 256
    channels: int = 1
    eps: float = 0.8
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, z):
        side = self.size // 4
        if side < 1:
            raise ValueError(f'an image generator makes images of 4 px or more, not {self.size}')
        he = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
        conv = functools.partial(Conv, dtype=self.dtype, kernel_init=he)
        norm = functools.partial(InstanceNorm, eps=self.eps, dtype=self.dtype)
        dense = nn.Dense(128 * side**2, dtype=self.dtype, kernel_init=he, bias_init=uniform(self.latent), name='dense')
        x = dense(z).reshape(len(z), side, side, 128)
        x = nearest(InstanceNorm(dtype=self.dtype, name='norm1')(x), 2)
        x = nearest(nn.leaky_relu(norm(name='norm2')(conv(128, name='conv1')(x)), 0.2), 2)
        x = nn.leaky_relu(norm(name='norm3')(conv(64, name='conv2')(x)), 0.2)
        return (nn.tanh(at_least_float32(conv(self.channels, name='conv3')(x))) + 1) / 2, {}
