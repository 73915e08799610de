"""SRResNet, SRGAN's generator (Ledig et al., CVPR 2017): residual blocks with batch norm and PReLU."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import GLOROT, Conv, at_least_float32, factors, pixel_shuffle
from kdsr.models.norms import BatchNorm, PReLU
from kdsr.models.vgg import imagenet


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + bn(conv(prelu(bn(conv(x)))))."""

    eps: float
    dtype: str

    @nn.compact
    def __call__(self, x, train=False, axis=None):
        conv = functools.partial(Conv, x.shape[-1], dtype=self.dtype, **GLOROT)
        norm = functools.partial(BatchNorm, 0.8, self.eps, dtype=self.dtype)
        y = norm(name='bn1')(conv(name='conv1')(x), train, axis)
        y = PReLU(name='prelu')(y)
        return x + norm(name='bn2')(conv(name='conv2')(y), train, axis)


class Upsampler(nn.Module):
    """`[B, h, w, F]` -> `[B, s*h, s*w, F]`: per factor of the scale a 3x3 convolution, a pixel shuffle and a PReLU."""

    scale: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        for i, r in enumerate(factors(self.scale), 1):
            x = pixel_shuffle(Conv(features * r * r, dtype=self.dtype, name=f'conv{i}', **GLOROT)(x), r)
            x = PReLU(name=f'prelu{i}')(x)
        return x


class SRResNet(nn.Module):
    """SRGAN's generator, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and, by its final tanh, in [0, 1]; without `tanh` it is not bounded. With `imagenet` it reads colours less
    ImageNet's mean, over its standard deviation. `eps` is batch norm's: Keras' 1e-3 or PyTorch's 1e-5. Sizes: 16 blocks x 64
    features (the default; SRResNet, SRGAN), 8 x 32 (the distilled student of Lee and Park). `train` and `axis` are those of
    `BatchNorm`.

    Taps, each `[B, h, w, features]`: 'head', after its PReLU; 'block1' ... 'blockN', after so many blocks; 'body', the
    body's last convolution and batch norm + head.

    References: Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR
    2017, in the form of github.com/krasserm/super-resolution; Lee and Park, A Study of Lightening SRGAN Using Knowledge
    Distillation, J. Korea Multimedia Soc. 24(12), 2021.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    channels: int = 3
    tanh: bool = True
    imagenet: bool = False
    eps: float = 1e-3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr, train=False, axis=None):
        conv = functools.partial(Conv, dtype=self.dtype, **GLOROT)
        x = imagenet(lr) if self.imagenet else lr
        x = head = PReLU(name='head_prelu')(conv(self.features, 9, name='head')(x))
        taps = {'head': head}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.eps, self.dtype, name=f'block{i}')(x, train, axis)
        x = conv(self.features, name='body')(x)
        x = taps['body'] = BatchNorm(0.99, self.eps, dtype=self.dtype, name='body_bn')(x, train, axis) + head
        x = conv(self.channels, 9, name='tail')(Upsampler(self.scale, self.dtype, name='up')(x))
        x = at_least_float32(x)
        return (jnp.tanh(x) + 1) / 2 if self.tanh else x, taps


Generator = SRResNet


def fakd_taps(blocks=SRResNet.blocks, **_):
    """Three taps for feature distillation, where EDSR has them: after floor(n/3) and floor(2n/3) blocks and the body."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', 'body'


def radius(blocks=SRResNet.blocks, **_):
    """LR pixels around an output pixel's own that can change it: head 4, two a block, body 1; upsampler and tail under 3."""
    return 2 * blocks + 8
