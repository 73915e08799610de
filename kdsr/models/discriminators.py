"""Discriminators: networks that tell real images from generated ones; logits out, the losses take the sigmoid."""

import functools

from flax import linen as nn

from kdsr.models.layers import GLOROT, Conv, StridedConv, at_least_float32
from kdsr.models.norms import BatchNorm

WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)  # of the eight convolutions, in `features`; every second one has stride 2


class SRGAN(nn.Module):
    """SRGAN's discriminator, `image [B, size, size, 3]` in [0, 1] -> logits `[B]`, float32; positive means real.

    Eight convolutions of `features` to 8 * `features` channels with LeakyReLU(0.2) and, but for the first, batch norm; then
    dense layers of `hidden` and 1. The first dense layer fixes the image's size: ValueError for another. `train` and `axis`
    are those of `BatchNorm`; real and generated images belong in two calls, since a joint one would mix their statistics.
    `use_bias` and `momentum` are those of the convolutions and of the batch norm.

    Reference: Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017,
    section 2.1.1, with the constants of github.com/krasserm/super-resolution (momentum 0.8, eps 1e-3).
    """

    size: int = 96
    features: int = 64
    hidden: int = 1024
    dtype: str = 'float32'
    use_bias: bool = True
    momentum: float = 0.8

    @nn.compact
    def __call__(self, image, train=False, axis=None):
        if image.shape[1:3] != (self.size, self.size):
            height, width = image.shape[1:3]
            raise ValueError(f'this discriminator takes images of {self.size}x{self.size}, got {height}x{width}: set size')
        act = functools.partial(nn.leaky_relu, negative_slope=0.2)
        dense = functools.partial(nn.Dense, dtype=self.dtype, **GLOROT)
        x = image * 2 - 1
        for i, width in enumerate(WIDTHS, 1):
            conv = functools.partial(Conv if i % 2 else StridedConv, use_bias=self.use_bias, dtype=self.dtype, **GLOROT)
            x = conv(self.features * width, name=f'conv{i}')(x)
            if i > 1:
                x = BatchNorm(self.momentum, dtype=self.dtype, name=f'bn{i}')(x, train, axis)
            x = act(x)
        x = act(dense(self.hidden, name='dense1')(x.reshape(len(x), -1)))
        return at_least_float32(dense(1, name='dense2')(x))[:, 0]


class ESRGAN(SRGAN):
    """ESRGAN's discriminator in the form of captain-pool/GSOC: SRGAN's eight convolutions without biases, a narrow dense layer.

    The call is `SRGAN`'s; at 128x128 it has 7,964,169 parameters. The original reads 0..255 less ImageNet's mean, in BGR; here it
    is [-1, 1] as in SRGAN's, and the first batch norm takes out the scale anyway. There batch norm never left its initial
    statistics, a slip of that code; here it trains, as in the paper.

    Reference: Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, ECCVW 2018, whose own has ten
    convolutions; github.com/captain-pool/GSOC, E2_ESRGAN, `VGGArch`.
    """

    size: int = 128
    hidden: int = 100
    use_bias: bool = False
    momentum: float = 0.99
