"""MSRResNet, BasicSR's SRResNet: no normalisation, leaky ReLUs, and what it makes is added to the bilinear image."""

import functools

from flax import linen as nn

from kdsr.models.bicubic import bilinear
from kdsr.models.layers import Conv, at_least_float32, factors, pixel_shuffle

leaky = functools.partial(nn.leaky_relu, negative_slope=0.1)


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + conv(relu(conv(x)))."""

    dtype: str

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(Conv, x.shape[-1], dtype=self.dtype)
        return x + conv(name='conv2')(nn.relu(conv(name='conv1')(x)))


class Upsampler(nn.Module):
    """`[B, h, w, F]` -> `[B, s*h, s*w, F]`: per factor of the scale a 3x3 convolution, a pixel shuffle and a leaky ReLU."""

    scale: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        for i, r in enumerate(factors(self.scale), 1):
            x = leaky(pixel_shuffle(Conv(features * r * r, dtype=self.dtype, name=f'conv{i}')(x), r))
        return x


class MSRResNet(nn.Module):
    """BasicSR's SRResNet, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Published size: 16 blocks x 64 features (the default). Taps, each
    `[B, h, w, features]`: 'head', after its leaky ReLU; 'block1' ... 'blockN', after so many blocks.

    References: Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017,
    in the form that Wang et al. give it in github.com/XPixelGroup/BasicSR.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    channels: int = 3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, dtype=self.dtype)
        x = leaky(conv(self.features, name='head')(lr))
        taps = {'head': x}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.dtype, name=f'block{i}')(x)
        x = leaky(conv(self.features, name='hr')(Upsampler(self.scale, self.dtype, name='up')(x)))
        return at_least_float32(conv(self.channels, name='tail')(x)) + bilinear(lr, self.scale), taps


Generator = MSRResNet


def fakd_taps(blocks=MSRResNet.blocks, **_):
    """Three taps for feature distillation: after floor(n/3), floor(2n/3) and all of the blocks."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', f'block{blocks}'


def radius(blocks=MSRResNet.blocks, **_):
    """LR pixels around an output pixel's own that can change it: head 1, two a block; all that follows under 3."""
    return 2 * blocks + 4
