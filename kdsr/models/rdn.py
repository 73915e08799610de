"""RDN (Zhang et al., CVPR 2018): residual dense blocks whose outputs are fused globally."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, Upsampler, at_least_float32


class DenseBlock(nn.Module):
    """`[B, h, w, F]` -> the same: x + 1x1 fusion of x and of `layers` convolutions, each reading all before it."""

    layers: int
    growth: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, self.layers + 1):
            new = nn.relu(Conv(self.growth, dtype=self.dtype, name=f'conv{i}')(y))
            y = jnp.concatenate([y, new], -1)
        return x + Conv(x.shape[-1], 1, dtype=self.dtype, name='fuse')(y)


class RDN(nn.Module):
    """Residual dense network, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Works on 0..rgb_range without a colour shift; scales 2, 3, 4. Published sizes:
    B = 16 blocks x 8 layers, growth 64 (the default); A = 20 x 6, growth 32; both 64 features.

    Taps, each `[B, h, w, features]`: 'head', the second shallow convolution; 'block1' ... 'blockD', after so many dense
    blocks; 'body', the global fusion + the first shallow convolution, or before that with `tap_pre_skip`.

    References: Zhang et al., Residual Dense Network for Image Super-Resolution, CVPR 2018.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    layers: int = 8
    growth: int = 64
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'
    tap_pre_skip: bool = False

    @nn.compact
    def __call__(self, lr):
        if self.scale == 8:
            raise ValueError('RDN has no published x8 upsampler: use scale 2, 3 or 4')
        conv = functools.partial(Conv, dtype=self.dtype)
        shallow = conv(self.features, name='head1')(at_least_float32(lr) * self.rgb_range)
        x = conv(self.features, name='head2')(shallow)
        taps = {'head': x}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = DenseBlock(self.layers, self.growth, self.dtype, name=f'block{i}')(x)
        x = jnp.concatenate([taps[f'block{i}'] for i in range(1, self.blocks + 1)], -1)
        body = conv(self.features, name='body')(conv(self.features, 1, name='fuse')(x))
        x = body + shallow
        taps['body'] = body if self.tap_pre_skip else x
        x = Upsampler(self.scale, self.growth, self.dtype, name='up')(x)
        return at_least_float32(conv(self.channels, name='tail')(x)) / self.rgb_range, taps


Generator = RDN


def fakd_taps(blocks=RDN.blocks, **_):
    """Three taps as FAKD's code sets them: after blocks 6 and 12 of 16 (3/8 and 3/4 of any other number), the body."""
    return f'block{max(1, 3 * blocks // 8)}', f'block{max(1, 3 * blocks // 4)}', 'body'


def radius(blocks=RDN.blocks, layers=RDN.layers, **_):
    """LR pixels around an output pixel's own that can change it: two heads, all layers, body; upsampler and tail under 2."""
    return blocks * layers + 5
