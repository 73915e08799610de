"""Compressed ESRGAN's student: the shape of RRDBNet with depthwise convolutions only, light enough for a phone."""

from flax import linen as nn

from kdsr.models.depthwise import TENTH_HE_BOTH, Depthwise
from kdsr.models.layers import GLOROT, Conv, Upsampler, at_least_float32
from kdsr.models.rrdb import BETA, leaky
from kdsr.models.rrdb_gsoc import TransposedConv


class SumBlock(nn.Module):
    """`[B, h, w, F]` -> the same: x + 0.2 r_n, where r_k is a depthwise convolution of x + leaky(r_1) + ... + leaky(r_(k-1)).

    A dense block that adds what RRDBNet's joins: channels do not mix.
    """

    layers: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        total = x
        for k in range(1, self.layers + 1):
            y = Depthwise(self.dtype, name=f'conv{k}', **TENTH_HE_BOTH)(total)
            total += leaky(y)
        return x + BETA * y


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + 0.2 * `rdbs` blocks of sums of x, in series."""

    rdbs: int
    layers: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, self.rdbs + 1):
            y = SumBlock(self.layers, self.dtype, name=f'dense{i}')(y)
        return x + BETA * y


class RRDBStudent(nn.Module):
    """The compressed ESRGAN, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Works on 0..rgb_range without a colour shift. The default (33,358 parameters at x4)
    enlarges by a 3x3 convolution and a pixel shuffle. With `released` it enlarges as the published student does (7,393
    parameters; 11,233 with rdbs=2, which its README states), by a transposed convolution of 3x3 with the scale as its stride:
    at x4 every fourth row and column then hears of no pixel at all but through the last depthwise convolution, and a grid
    shows. Depthwise kernels and biases of the blocks start by a tenth of He's law in Keras' form, the rest by Keras' default but
    for the default upsampler (PyTorch's, as everywhere else).

    Taps, each `[B, h, w, features]`: 'head', 'block1' ... 'blockN', after so many blocks; 'body', the last block + head.

    Reference: github.com/captain-pool/GSOC, E3_Distill_ESRGAN, `rrdb_student`.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 3
    rdbs: int = 1
    layers: int = 2
    released: bool = False
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr):
        x = head = Conv(self.features, dtype=self.dtype, name='head', **GLOROT)(at_least_float32(lr) * self.rgb_range)
        taps = {'head': head}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.rdbs, self.layers, self.dtype, name=f'block{i}')(x)
        x = taps['body'] = x + head
        if self.released:
            up = TransposedConv(self.channels, self.scale, self.dtype, name='up')
        else:
            up = Upsampler(self.scale, self.channels, self.dtype, at_once=True, name='up')
        x = Depthwise(self.dtype, name='tail')(leaky(up(x)))
        return at_least_float32(x) / self.rgb_range, taps


Generator = RRDBStudent


def fakd_taps(blocks=RRDBStudent.blocks, **_):
    """Three taps for feature distillation, where EDSR has them: after floor(n/3) and floor(2n/3) blocks and the body."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', 'body'


def radius(blocks=RRDBStudent.blocks, rdbs=RRDBStudent.rdbs, layers=RRDBStudent.layers, released=False, **_):
    """LR pixels around an output pixel's own that can change it: head, one a layer, the upsampler's 3x3, the last 3x3."""
    return blocks * rdbs * layers + (2 if released else 3)
