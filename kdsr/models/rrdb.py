"""RRDBNet, ESRGAN's generator (Wang et al., ECCVW 2018): residual in residual dense blocks, no normalisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdsr.models.layers import Conv, at_least_float32, nearest, pixel_unshuffle

LAYERS = 5  # convolutions of a dense block
BETA = 0.2  # what a block's result is multiplied by before its input is added, in both kinds of block

leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)


def widths(features, growth):
    """Outputs of the five convolutions of a dense block: (growth, growth, growth, growth, features)."""
    return (growth,) * (LAYERS - 1) + (features,)


def tenth_kaiming(source, features, growth):
    """Initialiser of 'push<source>': 0.1 N(0, 2/n), n the inputs of that convolution of the block which an output is part of."""
    inputs = [9 * (features + growth * i) for i in range(LAYERS)]
    per_output = np.repeat(inputs[source:], widths(features, growth)[source:])
    std = 0.1 * np.sqrt(2 / per_output)
    return lambda key, shape, dtype: jax.random.normal(key, shape, dtype) * std.astype(dtype)


class DenseBlock(nn.Module):
    """`[B, h, w, F]` -> the same: x + 0.2 c5(x, y1, ..., y4), where yk = leaky(ck(x, y1, ..., y(k-1))) has `growth` channels.

    No features are joined to feed the convolutions c1 ... c5: 'push0' convolves x once, into its share in the results of all five,
    'push1' then y1 into its share in those of c2 ... c5, and so on; a result is the sum of its shares. The outputs of a push are
    in the order c1 ... c5. These are the same numbers as in the joined kernels, cut along the inputs, and the same work, in fewer
    and wider convolutions without copies. 'push0' has the biases of all five.
    """

    growth: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        features, growth = x.shape[-1], self.growth

        def push(source, y):
            laws = {'kernel_init': tenth_kaiming(source, features, growth), 'bias_init': nn.initializers.zeros}
            outputs = sum(widths(features, growth)[source:])
            return Conv(outputs, use_bias=source == 0, dtype=self.dtype, name=f'push{source}', **laws)(y)

        shares = push(0, x)
        for source in range(1, LAYERS):
            done, shares = shares[..., :growth], shares[..., growth:]
            shares += push(source, leaky(done))
        return x + BETA * shares


class Block(nn.Module):
    """`[B, h, w, F]` -> the same, a residual in residual dense block: x + 0.2 * three dense blocks of x, in series."""

    growth: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x
        for i in (1, 2, 3):
            y = DenseBlock(self.growth, self.dtype, name=f'dense{i}')(y)
        return x + BETA * y


class RRDBNet(nn.Module):
    """ESRGAN's generator, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Published sizes: 23 blocks x 64 features, growth 32 (the default; ESRGAN, RealSR,
    Real-ESRGAN x4plus), and 6 blocks (Real-ESRGAN's anime model). Scales 4, 2 and 1, as in Real-ESRGAN: the network is always
    one of x4, and reads 2x2 (scale 2) or 4x4 pixels (scale 1) as one with more channels. Sides that these do not divide are
    continued by repeating the last row or column; so what it makes of a crop depends on where the crop begins, modulo 4 / scale.
    Without `folds` it reads single pixels at every scale, 1, 2, 4 and 8, and has as many steps of x2 as that takes, as ESRGAN's
    own code.

    Taps, each `[B, h, w, features]` (h/2, h/4 at scale 2, 1): 'head'; 'block1' ... 'blockN', after so many blocks; 'body', the
    body's last convolution + head.

    References: Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, ECCVW 2018; Wang et al.,
    Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCVW 2021.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    channels: int = 3
    folds: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, self.features, dtype=self.dtype)
        x = head = conv(name='head')(folded(lr, fold(self.scale, self.folds)))
        taps = {'head': head}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.growth, self.dtype, name=f'block{i}')(x)
        x = taps['body'] = conv(name='body')(x) + head
        for i in range(1, 1 + steps(self.scale, self.folds)):
            x = leaky(conv(name=f'up{i}')(nearest(x, 2)))
        x = Conv(self.channels, dtype=self.dtype, name='tail')(leaky(conv(name='hr')(x)))
        height, width = lr.shape[1:3]
        return at_least_float32(x[:, : height * self.scale, : width * self.scale]), taps


Generator = RRDBNet


def fold(scale, folds=True):
    """Side of the squares of LR pixels that RRDBNet reads as one: 1, 2, 4 at scale 4, 2, 1, or 1; ValueError for other scales."""
    allowed = (1, 2, 4) if folds else (1, 2, 4, 8)
    if scale not in allowed:
        raise ValueError(f'scale {scale!r} is not supported by RRDBNet: use {", ".join(map(str, allowed[:-1]))} or {allowed[-1]}')
    return 4 // scale if folds else 1


def steps(scale, folds=True):
    """How often it enlarges by 2: twice, and without `folds` 0, 1, 2 or 3 times at scale 1, 2, 4, 8."""
    return (scale * fold(scale, folds)).bit_length() - 1


def folded(image, r):
    """`[B, h, w, C]` -> `[B, ceil(h/r), ceil(w/r), r*r*C]`, squares of pixels as channels."""
    if r == 1:
        return image
    height, width = image.shape[1:3]
    return pixel_unshuffle(jnp.pad(image, ((0, 0), (0, -height % r), (0, -width % r), (0, 0)), mode='edge'), r)


def fakd_taps(blocks=RRDBNet.blocks, **_):
    """Three taps for feature distillation, where EDSR has them: after floor(n/3) and floor(2n/3) blocks and the body."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', 'body'


def radius(scale=RRDBNet.scale, blocks=RRDBNet.blocks, folds=RRDBNet.folds, **_):
    """LR pixels around an output pixel's own that can change it: head, 15 a block, body, and 2 for all that follows.

    None at scale 2 and 1 with `folds`: there the squares that are read as one pixel begin where the image (or a tile of it) does.
    """
    return 15 * blocks + 4 if fold(scale, folds) == 1 else None
