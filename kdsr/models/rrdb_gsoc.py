"""The ESRGAN generator of captain-pool/GSOC: narrower and shallower than the official one, with transposed convolutions."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import GLOROT, Conv, add_bias, at_least_float32, conv, factors, pixel_shuffle
from kdsr.models.rrdb import Block, leaky


class TransposedConv(nn.Module):
    """`[B, h, w, I]` -> `[B, s*h, s*w, features]`, s = `stride` >= 2: pixel (y, x) adds to the outputs (sy + a, sx + b), a, b < 3.

    These are the outputs of a Conv2DTranspose with padding SAME in Keras (what lies beyond the image is cut off). With stride 2
    outputs overlap; with 4, every fourth row and column gets the bias only. Parameters `kernel` (`[3, 3, I, features]`) and
    `bias` (`[features]`) are float32, drawn by Keras' default law unless told otherwise.
    """

    features: int
    stride: int
    dtype: str = 'float32'
    kernel_init: Callable = GLOROT['kernel_init']
    bias_init: Callable = GLOROT['bias_init']

    @nn.compact
    def __call__(self, x):
        s, inputs = self.stride, x.shape[-1]
        kernel = self.param('kernel', self.kernel_init, (3, 3, inputs, self.features), jnp.float32)
        bias = self.param('bias', self.bias_init, (self.features,), jnp.float32)
        # An output is made of one or two pixels a side. So it is a small convolution to all s x s outputs of a pixel, then a
        # shuffle; output a of a side is that of the pixel itself (a < s) or of the one before (a - s): the last tap or the first.
        taps = -(-3 // s)
        kernel = jnp.pad(kernel, ((0, taps * s - 3), (0, taps * s - 3), (0, 0), (0, 0)))
        kernel = kernel.reshape(taps, s, taps, s, inputs, self.features)[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
        kernel = kernel.reshape(taps, taps, inputs, s * s * self.features).astype(self.dtype)
        y = pixel_shuffle(conv(x.astype(self.dtype), kernel, ((taps - 1, 0), (taps - 1, 0))), s)
        return add_bias(y, bias.astype(self.dtype))


class RRDBNet(nn.Module):
    """GSOC's ESRGAN generator, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Works on 0..rgb_range without a colour shift. The default, 11 blocks x 32 features, is
    the size that was trained there, for x4. The growth of its dense blocks equals `features`, and an activation follows the first
    convolution. Dense blocks start by the official law (0.1 N(0, 2/n)), where the original cuts the normal law off at two
    standard deviations; the rest by Keras' default.

    Taps, each `[B, h, w, features]`: 'head', after its activation; 'block1' ... 'blockN', after so many blocks; 'body', the
    body's last convolution + head.

    Reference: github.com/captain-pool/GSOC, E2_ESRGAN, after Wang et al., ESRGAN, ECCVW 2018.
    """

    scale: int = 4
    features: int = 32
    blocks: int = 11
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, dtype=self.dtype, **GLOROT)
        x = head = leaky(conv(self.features, name='head')(at_least_float32(lr) * self.rgb_range))
        taps = {'head': head}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.features, self.dtype, name=f'block{i}')(x)
        x = taps['body'] = conv(self.features, name='body')(x) + head
        for i, r in enumerate(factors(self.scale), 1):
            x = leaky(TransposedConv(self.features, r, self.dtype, name=f'up{i}')(x))
        x = leaky(conv(self.features, name='hr')(x))
        return at_least_float32(conv(self.channels, name='tail')(x)) / self.rgb_range, taps


Generator = RRDBNet


def fakd_taps(blocks=RRDBNet.blocks, **_):
    """Three taps for feature distillation, where EDSR has them: after floor(n/3) and floor(2n/3) blocks and the body."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', 'body'


def radius(blocks=RRDBNet.blocks, **_):
    """LR pixels around an output pixel's own that can change it: head, 15 a block, body, and 2 for all that follows."""
    return 15 * blocks + 4
